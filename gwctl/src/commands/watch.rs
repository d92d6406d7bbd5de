//! The command `gwctl routes list --watch`, which prints the routes and then each change.

mod formatter;

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

use self::formatter::EventFormatter;
use super::pages;
use crate::diff::{ChangeKind, RouteEvent, diff};
use crate::error::{CommandError, FailureKind};
use crate::output::{self, OutputOptions};
use crate::trace::RetryNotice;

/// The maximum number of routes that can be watched.
const MAX_ROUTES: u32 = 10_000;
/// The minimum time between two list calls, because there may be hundreds of changes per second.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// The pause after an error, such as a gateway that was unavailable or had too many waiting calls.
const RECOVERY_PAUSE: Duration = Duration::from_secs(5);

/// All routes at one version.
struct RouteSnapshot {
    version: u64,
    routes: Vec<Value>,
}

/// Prints routes and changes until the reader closes stdout or a permanent error occurs.
pub(super) async fn watch(
    client: Client,
    caller: &KeyId,
    params: RouteListParams,
    options: OutputOptions,
) -> Result<(), CommandError> {
    tokio::select! {
        result = print_changes(client, caller, params, options) => result,
        () = stdout_closed() => Ok(()),
    }
}

/// Runs a command that prints again and again, until the user interrupts it or the reader closes stdout.
pub(super) async fn until_interrupted(
    printing: impl Future<Output = Result<(), CommandError>>,
) -> Result<(), CommandError> {
    tokio::select! {
        result = printing => result,
        () = stdout_closed() => Ok(()),
        Ok(()) = tokio::signal::ctrl_c() => Ok(()),
    }
}

async fn print_changes(
    client: Client,
    caller: &KeyId,
    params: RouteListParams,
    options: OutputOptions,
) -> Result<(), CommandError> {
    let mut next_call = Instant::now() + MIN_INTERVAL;
    let mut previous = fetch_routes(&client, &params, None).await?;
    let mut formatter = EventFormatter::new(options.format, caller);
    let listed =
        previous.routes.iter().map(|route| RouteEvent { kind: ChangeKind::Listed, route: route.clone() });
    let mut is_open = output::write_stdout(&formatter.format_initial(&listed.collect::<Vec<_>>())?)?;
    let notice = RetryNotice::new(options.format);
    let (once, retrying) = (client.clone().retry_for(Duration::ZERO), client.retry_for(Duration::MAX));
    let retrying = if options.verbose { retrying } else { retrying.observed_by(notice.clone()) };
    while is_open {
        sleep_until(next_call).await;
        let current = match fetch_routes(&once, &params, Some(previous.version)).await {
            Ok(current) => {
                next_call = Instant::now() + MIN_INTERVAL;
                current
            }
            // A permanent error occurs again here and ends the watch. After a transient one the list is fetched without
            // waiting for a newer version, so that the user soon learns that the gateway responds again.
            Err(_) => {
                let current = fetch_routes(&retrying, &params, None).await?;
                notice.call_succeeded();
                next_call = Instant::now() + RECOVERY_PAUSE;
                current
            }
        };
        is_open = output::write_stdout(&formatter.format(&diff(&previous.routes, &current.routes))?)?;
        previous = current;
    }
    Ok(())
}

/// Fetches all pages. With `newer_than`, the gateway responds when there is a newer version, or after [`LONGEST_WAIT`].
async fn fetch_routes(
    client: &Client,
    params: &RouteListParams,
    newer_than: Option<u64>,
) -> Result<RouteSnapshot, CommandError> {
    let page = async |limit, cursor: Option<String>| {
        // Only the first page waits; the others belong to the same version.
        let newer_than = newer_than.filter(|_| cursor.is_none());
        let wait = newer_than.map(|_| LONGEST_WAIT);
        let limit = Some(limit).filter(|limit| *limit < MAX_PAGE);
        let params = RouteListParams { limit, cursor, newer_than, wait, ..params.clone() };
        client.call(method::ROUTES_LIST, &params).await
    };
    let mut list: Value = pages::fetch_all("routes", Some(MAX_ROUTES + 1), page).await?;
    let Some(version) = list["version"].as_u64() else {
        return Err(CommandError::new(FailureKind::Unexpected, "the gateway is too old for --watch")
            .hint("repeat `gwctl routes list` instead"));
    };
    let routes = list["routes"].as_array_mut().map(std::mem::take).unwrap_or_default();
    if routes.len() > MAX_ROUTES as usize {
        return Err(CommandError::new(
            FailureKind::Usage,
            format!("there are more than {MAX_ROUTES} routes to watch"),
        )
        .flag("-w/--watch")
        .hint("select fewer routes with --owner, --host or --mode"));
    }
    Ok(RouteSnapshot { version, routes })
}

/// Completes when stdout is a pipe and its reader, such as `head`, has closed it.
#[cfg(target_os = "linux")]
async fn stdout_closed() {
    // Other kinds of stdout, such as a file, cannot be polled, and have no reader that could close them.
    let stdout = io::stdout().as_fd().try_clone_to_owned().and_then(Sender::from_owned_fd_unchecked);
    match stdout {
        Ok(stdout) if stdout.ready(Interest::ERROR).await.is_ok() => {}
        Ok(_) | Err(_) => pending().await,
    }
}

/// Never completes: on other systems the next write detects that the reader has closed stdout.
#[cfg(not(target_os = "linux"))]
async fn stdout_closed() {
    pending().await
}
