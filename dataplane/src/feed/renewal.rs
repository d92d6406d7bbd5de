//! The node's certificate, renewed at two thirds of its life while the stream goes on.

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

/// The clock is looked at so often: it may be set, and machines sleep.
const LOOK: Duration = Duration::from_secs(60);

/// The wait before a certificate that has ended is looked at again.
const ENDED_RETRY: Duration = Duration::from_secs(10);
/// The longest wait before a renewal that failed is tried again.
const RETRY: Duration = Duration::from_secs(3600);

/// Why a certificate was not renewed.
#[derive(Debug, Error)]
enum RenewalError {
    #[error("no controlplane is connected")]
    Disconnected,
    #[error("no key: {0}")]
    Key(#[from] rcgen::Error),
    #[error(transparent)]
    Enrolment(#[from] EnrolmentError),
    #[error(transparent)]
    Certificate(#[from] NodeCertificateError),
    #[error(transparent)]
    StateDir(#[from] StateDirError),
}

/// Renews `identity` over `channel` until the process stops.
pub(crate) async fn run(
    identity: IdentityStore,
    channel: RemoteChannel,
    stop: Stop,
) -> Result<(), Infallible> {
    while let Some(held) = identity.get() {
        let wait = match until(held.renew_at) {
            Duration::ZERO => match renew(&identity, &held, &channel).await {
                Ok(()) => continue,
                Err(why) => complain(&held, &why),
            },
            wait => wait.min(LOOK),
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
    identity: &IdentityStore,
    held: &Identity,
    channel: &RemoteChannel,
) -> Result<(), RenewalError> {
    let channel = channel.load_full().ok_or(RenewalError::Disconnected)?;
    let request = CertificateRequest::generate()?;
    let granted = enrolment::renew((*channel).clone(), request.csr.clone()).await?;
    let renewed = request.granted(granted, held.address.clone(), unix_now())?;
    let (node, not_after) = (renewed.name.to_string(), renewed.not_after);
    identity.replace(renewed)?;
    info!(node, not_after, "this node's certificate was renewed");
    Ok(())
}

/// Says it, and how long to wait: there is time, less and less.
fn complain(held: &Identity, why: &RenewalError) -> Duration {
    let left = until(held.not_after);
    if left.is_zero() {
        error!(%why, "this node's certificate has ended by this machine's clock: check the clock; if it is right, remove the node, invite it again and join anew");
        // The clock may be set meanwhile.
        return ENDED_RETRY;
    }
    warn!(%why, hours_left = left.as_secs() / 3600, "this node's certificate was not renewed, it is tried again");
    (left / 20).clamp(Duration::from_millis(500), RETRY)
}

fn until(unix: i64) -> Duration {
    Duration::from_secs(u64::try_from(unix - unix_now()).unwrap_or(0))
}
