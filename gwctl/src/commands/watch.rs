//! `gwctl routes list --watch`: the list, and then a line for each change.

mod lines;

use std::future::pending;
use std::io;
use std::time::Duration;

use gwctl::Client;
use serde_json::Value;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};
use webgateway_proto::api::{LONGEST_WAIT, MAX_PAGE, RouteListParams, method};
use webgateway_proto::model::KeyId;

use self::lines::Lines;
use super::{Manner, pages};
use crate::difference::{Event, Happened, difference};
use crate::fault::{Fault, Kind};
use crate::output;
use crate::trace::Vigil;

/// How many routes are watched at most.
const MOST: u32 = 10_000;
/// How often the list is read at most: changes may come in hundreds.
const PACE: Duration = Duration::from_secs(1);

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
    manner: Manner,
) -> Result<(), Fault> {
    tokio::select! {
        failed = follow(client, caller, params, manner) => failed,
        () = reader_gone() => Ok(()),
    }
}

async fn follow(
    client: Client,
    caller: &KeyId,
    params: RouteListParams,
    manner: Manner,
) -> Result<(), Fault> {
    let mut at = Instant::now();
    let mut known = list(&client, &params, None).await?;
    let mut lines = Lines::new(manner.format, caller);
    let listed = known.routes.iter().map(|route| Event { happened: Happened::Listed, route: route.clone() });
    let mut goes_on = output::put(&lines.listed(&listed.collect::<Vec<_>>())?)?;
    // That it is there and takes the key is known now: from here on whatever may pass is waited for.
    let vigil = Vigil::new(manner.format);
    let client = client.retry_for(Duration::MAX);
    let client = if manner.verbose { client } else { client.observed_by(vigil.clone()) };
    while goes_on {
        sleep_until(at + PACE).await;
        let seen = list(&client, &params, Some(known.version)).await?;
        at = Instant::now();
        vigil.answered();
        goes_on = output::put(&lines.of(&difference(&known.routes, &seen.routes))?)?;
        known = seen;
    }
    Ok(())
}

/// Reads all pages; with `newer_than`, as soon as there is something newer, or after a while all the same.
async fn list(client: &Client, params: &RouteListParams, newer_than: Option<u64>) -> Result<Listing, Fault> {
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
        return Err(Fault::new(Kind::Unexpected, "the gateway is too old to be watched")
            .hint("ask again and again: gwctl routes list"));
    };
    let routes = list["routes"].as_array_mut().map(std::mem::take).unwrap_or_default();
    if routes.len() > MOST as usize {
        return Err(Fault::new(Kind::Usage, format!("there are more than {MOST} routes to watch"))
            .flag("-w/--watch")
            .hint("watch some of them: --owner, --host or --mode"));
    }
    Ok(Listing { version, routes })
}

/// Resolves when stdout is a pipe and its reader has gone, such as `head`.
async fn reader_gone() {
    // What cannot be watched, such as a file, has nobody who could go.
    let Ok(stdout) = AsyncFd::with_interest(io::stdout(), Interest::ERROR) else { return pending().await };
    if stdout.ready(Interest::ERROR).await.is_err() {
        pending().await
    }
}
