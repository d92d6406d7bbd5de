//! A page of the cache: when it was written (Unix seconds, 8 bytes), then messages of the feed.

use webgateway_proto::feed::{Resource, ResourceName, ToNode, stored};
use webgateway_proto::model::Prefixes;
use zeroize::Zeroizing;

use crate::feed::apply::CompleteBatch;
use crate::snapshot::Snapshot;

/// Private keys stand in it.
pub(super) type Page = Zeroizing<Vec<u8>>;

/// A page of a snapshot is closed once it has so many bytes.
const FULL_PAGE: usize = 256 * 1024;

fn empty(at: i64) -> Page {
    Zeroizing::new(at.to_be_bytes().to_vec())
}

/// The page of one batch.
pub(super) fn of_batch(batch: &CompleteBatch, at: i64) -> Page {
    let mut page = empty(at);
    batch.encode(&mut page);
    page
}

/// A snapshot's pages, made one at a time.
///
/// A challenge cannot be taken out of a snapshot again: it is named as missing, and the version not as held, so that
/// it comes again.
pub(super) fn of_snapshot(snapshot: &Snapshot, at: i64) -> impl Iterator<Item = Page> {
    let mut puts = resources(snapshot).peekable();
    let mut ended = false;
    std::iter::from_fn(move || {
        let mut page = empty(at);
        while page.len() < FULL_PAGE && puts.peek().is_some() {
            puts.by_ref().take(1).for_each(|resource| stored::put(&resource, &mut page));
        }
        if puts.peek().is_none() && !std::mem::replace(&mut ended, true) {
            close(snapshot, &mut page);
            return Some(page);
        }
        (!ended).then_some(page)
    })
}

/// What is held stands before what is missing: it is the last version of which nothing was.
fn close(snapshot: &Snapshot, page: &mut Page) {
    let challenges = snapshot.challenges.hosts().cloned().map(ResourceName::Challenge);
    let challenges: Vec<String> = challenges.map(|name| name.to_string()).collect();
    if let (Some(held), true) = (&snapshot.held, challenges.is_empty()) {
        stored::end(held, page);
    }
    snapshot.rejected.iter().chain(&challenges).for_each(|name| stored::unusable(name, page));
}

/// Everything that can be written; the settings come first: the routes are read by them.
fn resources(snapshot: &Snapshot) -> impl Iterator<Item = Resource> {
    let settings = snapshot.settings.iter().map(|settings| Resource::Settings((**settings).clone()));
    let tickets = snapshot.ticket_keys.iter().map(|keys| Resource::TicketKeys((**keys).clone()));
    let certs = snapshot.certs.iter().map(|cert| Resource::Certificate(cert.source()));
    let routes = snapshot.routes.iter().map(|route| Resource::Route((**route).clone()));
    settings.chain(tickets).chain(certs).chain(routes)
}

/// Reads a page: when it was written, and its messages to `take`. `None` if it is none.
pub(super) fn read(page: &[u8], allowed: &mut Prefixes, mut take: impl FnMut(ToNode)) -> Option<i64> {
    let (at, mut rest) = page.split_first_chunk::<8>()?;
    while !rest.is_empty() {
        let message = stored::read(&mut rest, allowed).ok()?;
        if let ToNode::Put(resource) = &message
            && let Resource::Settings(settings) = &**resource
        {
            *allowed = settings.allowed_backends.clone();
        }
        take(message);
    }
    Some(i64::from_be_bytes(*at))
}
