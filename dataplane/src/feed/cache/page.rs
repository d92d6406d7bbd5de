//! The pages of the cache, each with a time (Unix seconds, 8 bytes, big-endian) and messages of the feed.

use webgateway_proto::feed::{Resource, ResourceName, ToNode, stored};
use webgateway_proto::model::Prefixes;
use zeroize::Zeroizing;

use crate::feed::apply::CompleteBatch;
use crate::snapshot::Snapshot;

/// A page in plain text; zeroed when dropped, as it may contain private keys.
pub(super) type Page = Zeroizing<Vec<u8>>;

/// The size at which a page of a snapshot is full, in bytes.
const FULL_PAGE: usize = 256 * 1024;

fn empty(at: i64) -> Page {
    Zeroizing::new(at.to_be_bytes().to_vec())
}

/// Returns the page of one batch.
pub(super) fn batch_page(batch: &CompleteBatch, at: i64) -> Page {
    let mut page = empty(at);
    batch.encode(&mut page);
    page
}

/// Iterates over the pages of a snapshot, each made when it is asked for.
///
/// A snapshot has challenges only in the form in which they are served, so they cannot be written. They are listed as
/// unusable, and the version is left out, so that the controlplane sends them again.
pub(super) fn snapshot_pages(snapshot: &Snapshot, at: i64) -> impl Iterator<Item = Page> {
    let mut puts = resources(snapshot).peekable();
    let mut ended = false;
    std::iter::from_fn(move || {
        let mut page = empty(at);
        while page.len() < FULL_PAGE && puts.peek().is_some() {
            puts.by_ref().take(1).for_each(|resource| stored::put(&resource, &mut page));
        }
        if puts.peek().is_none() && !std::mem::replace(&mut ended, true) {
            finish(snapshot, &mut page);
            return Some(page);
        }
        (!ended).then_some(page)
    })
}

/// Appends the version of the snapshot, then the unusable resources. In the other order the version would not be
/// restored: it does not count as held while a resource is unusable.
fn finish(snapshot: &Snapshot, page: &mut Page) {
    let challenges = snapshot.challenges.hosts().cloned().map(ResourceName::Challenge);
    let challenges: Vec<String> = challenges.map(|name| name.to_string()).collect();
    if let (Some(held), true) = (&snapshot.held, challenges.is_empty()) {
        stored::end(held, page);
    }
    snapshot.rejected.iter().chain(&challenges).for_each(|name| stored::unusable(name, page));
}

/// Iterates over the resources of a snapshot. The settings come first, as routes are validated against them when read.
fn resources(snapshot: &Snapshot) -> impl Iterator<Item = Resource> {
    let settings = snapshot.settings.iter().map(|settings| Resource::Settings((**settings).clone()));
    let tickets = snapshot.ticket_keys.iter().map(|keys| Resource::TicketKeys((**keys).clone()));
    let certs = snapshot.certs.iter().map(|cert| Resource::Certificate(cert.source()));
    let routes = snapshot.routes.iter().map(|route| Resource::Route((**route).clone()));
    settings.chain(tickets).chain(certs).chain(routes)
}

/// Reads a page: calls `handle` for each message, and returns the time of the page. `None` if the page is malformed.
pub(super) fn read(
    page: &[u8],
    allowed_backends: &mut Prefixes,
    mut handle: impl FnMut(ToNode),
) -> Option<i64> {
    let (at, mut rest) = page.split_first_chunk::<8>()?;
    while !rest.is_empty() {
        let message = stored::read(&mut rest, allowed_backends).ok()?;
        if let ToNode::Put(resource) = &message
            && let Resource::Settings(settings) = &**resource
        {
            *allowed_backends = settings.allowed_backends.clone();
        }
        handle(message);
    }
    Some(i64::from_be_bytes(*at))
}
