//! `gwctl routes list --watch`: the list, and then a line for each change.

mod lines;

use std::future::pending;
use std::time::Duration;
#[cfg(target_os = "linux")]
use std::{io, os::fd::AsFd};

use gwctl::Client;
use serde_json::Value;
use tokio::time::{Instant, sleep_until};
#[cfg(target_os = "linux")]
use tokio::{io::Interest, net::unix::pipe::Sender};
use webgateway_proto::api::{LONGEST_WAIT, MAX_PAGE, RouteListParams, method};
use webgateway_proto::model::KeyId;

use self::lines::Lines;
use super::pages;
use crate::difference::{ChangeKind, Event, difference};
use crate::error::{CommandError, Kind};
use crate::output;
use crate::output::OutputOptions;
use crate::trace::RetryNotice;

/// The largest number of routes that are watched.
const MOST: u32 = 10_000;
/// The shortest time between two readings of the list: changes may come in hundreds.
const PACE: Duration = Duration::from_secs(1);
/// The pause after a gateway was away, or had no place for one more who waits.
const PAUSE: Duration = Duration::from_secs(5);

/// The routes at one version.
struct Listing {
    version: u64,
    routes: Vec<Value>,
}

/// Prints until nobody reads any more, or until what fails will not pass.
pub(super) async fn watch(
    client: Client,
    caller: &KeyId,
    params: RouteListParams,
    options: OutputOptions,
) -> Result<(), CommandError> {
    tokio::select! {
        failed = follow(client, caller, params, options) => failed,
        () = reader_gone() => Ok(()),
    }
}

async fn follow(
    client: Client,
    caller: &KeyId,
    params: RouteListParams,
    options: OutputOptions,
) -> Result<(), CommandError> {
    let mut at = Instant::now() + PACE;
    let mut known = list(&client, &params, None).await?;
    let mut lines = Lines::new(options.format, caller);
    let listed = known.routes.iter().map(|route| Event { kind: ChangeKind::Listed, route: route.clone() });
    let mut goes_on = output::put(&lines.listed(&listed.collect::<Vec<_>>())?)?;
    let notice = RetryNotice::new(options.format);
    let (once, patient) = (client.clone().retry_for(Duration::ZERO), client.retry_for(Duration::MAX));
    let patient = if options.verbose { patient } else { patient.observed_by(notice.clone()) };
    while goes_on {
        sleep_until(at).await;
        let seen = match list(&once, &params, Some(known.version)).await {
            Ok(seen) => {
                at = Instant::now() + PACE;
                seen
            }
            // What will not pass fails again; after what does the list is here at once, whatever its version.
            Err(_) => {
                let seen = list(&patient, &params, None).await?;
                notice.answered();
                at = Instant::now() + PAUSE;
                seen
            }
        };
        goes_on = output::put(&lines.of(&difference(&known.routes, &seen.routes))?)?;
        known = seen;
    }
    Ok(())
}

/// Reads all pages; with `newer_than`, as soon as there is something newer, or after a while all the same.
async fn list(
    client: &Client,
    params: &RouteListParams,
    newer_than: Option<u64>,
) -> Result<Listing, CommandError> {
    let page = async |limit, cursor: Option<String>| {
        // The first page waits; the others belong to it.
        let newer_than = newer_than.filter(|_| cursor.is_none());
        let wait = newer_than.map(|_| LONGEST_WAIT);
        let limit = Some(limit).filter(|limit| *limit < MAX_PAGE);
        let params = RouteListParams { limit, cursor, newer_than, wait, ..params.clone() };
        client.call(method::ROUTES_LIST, &params).await
    };
    let mut list: Value = pages::all("routes", Some(MOST + 1), page).await?;
    let Some(version) = list["version"].as_u64() else {
        return Err(CommandError::new(Kind::Unexpected, "the gateway is too old to be watched")
            .hint("ask again and again: gwctl routes list"));
    };
    let routes = list["routes"].as_array_mut().map(std::mem::take).unwrap_or_default();
    if routes.len() > MOST as usize {
        return Err(CommandError::new(Kind::Usage, format!("there are more than {MOST} routes to watch"))
            .flag("-w/--watch")
            .hint("watch some of them: --owner, --host or --mode"));
    }
    Ok(Listing { version, routes })
}

/// Resolves when stdout is a pipe and its reader has gone, such as `head`.
#[cfg(target_os = "linux")]
async fn reader_gone() {
    // What cannot be watched, such as a file, has nobody who could go.
    let stdout = io::stdout().as_fd().try_clone_to_owned().and_then(Sender::from_owned_fd_unchecked);
    match stdout {
        Ok(stdout) if stdout.ready(Interest::ERROR).await.is_ok() => {}
        Ok(_) | Err(_) => pending().await,
    }
}

/// Elsewhere it is the next line that nobody takes.
#[cfg(not(target_os = "linux"))]
async fn reader_gone() {
    pending().await
}
