//! The renewal of this node's certificate after two thirds of its lifetime; the feed's stream goes on meanwhile.

use std::convert::Infallible;
use std::time::Duration;

use thiserror::Error;
use tokio::time::sleep;
use tracing::{error, info, warn};
use webgateway_process::Stop;

use super::connector::RemoteChannel;
use super::enrolment::{self, EnrolmentError};
use crate::clock::unix_now;
use crate::identity::{CertificateRequest, Identity, IdentityStore, NodeCertificateError, StateDirError};

/// The interval at which the clock is read again: it may be set, and a machine may be suspended.
const CLOCK_INTERVAL: Duration = Duration::from_secs(60);
/// The time before an expired certificate is checked again.
const EXPIRED_RETRY: Duration = Duration::from_secs(10);
/// The maximum time between two attempts to renew.
const MAX_RETRY: Duration = Duration::from_secs(3600);
/// The minimum time between two attempts to renew.
const MIN_RETRY: Duration = Duration::from_millis(500);

/// The certificate was not renewed.
#[derive(Debug, Error)]
enum RenewalError {
    #[error("no controlplane is connected")]
    Disconnected,
    #[error("cannot generate a key: {0}")]
    Key(#[from] rcgen::Error),
    #[error(transparent)]
    Enrolment(#[from] EnrolmentError),
    #[error(transparent)]
    Certificate(#[from] NodeCertificateError),
    #[error(transparent)]
    StateDir(#[from] StateDirError),
}

/// Renews the identity in `store` over `channel` until the process stops.
pub(crate) async fn run(store: IdentityStore, channel: RemoteChannel, stop: Stop) -> Result<(), Infallible> {
    while let Some(current) = store.get() {
        let wait = match until(current.renew_at) {
            Duration::ZERO => match renew(&store, &current, &channel).await {
                Ok(()) => continue,
                Err(error) => report(&current, &error),
            },
            wait => wait.min(CLOCK_INTERVAL),
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = stop.begun() => return Ok(()),
        }
    }
    stop.begun().await;
    Ok(())
}

async fn renew(
    store: &IdentityStore,
    current: &Identity,
    channel: &RemoteChannel,
) -> Result<(), RenewalError> {
    let channel = channel.load_full().ok_or(RenewalError::Disconnected)?;
    let request = CertificateRequest::generate()?;
    let issued = enrolment::renew((*channel).clone(), request.csr.clone()).await?;
    let renewed = request.into_identity(issued, current.address.clone(), unix_now())?;
    let (node, not_after) = (renewed.name.to_string(), renewed.not_after);
    store.replace(renewed)?;
    info!(node, not_after, "node certificate renewed");
    Ok(())
}

/// Logs a failed renewal, and returns the time until the next attempt: a twentieth of what is left of the certificate.
fn report(current: &Identity, error: &RenewalError) -> Duration {
    let left = until(current.not_after);
    if left.is_zero() {
        error!(
            %error,
            "node certificate expired by this machine's clock: check the clock; if it is right, remove the node, \
             invite it again and join again"
        );
        // The clock may be corrected at any time.
        return EXPIRED_RETRY;
    }
    warn!(%error, hours_left = left.as_secs() / 3600, "node certificate not renewed, trying again");
    (left / 20).clamp(MIN_RETRY, MAX_RETRY)
}

/// Returns the time until `unix` (Unix seconds); zero if it has passed.
fn until(unix: i64) -> Duration {
    Duration::from_secs(u64::try_from(unix - unix_now()).unwrap_or(0))
}
