//! The reconciler of certificates: every terminated host has one, soon after its route is created and ever after.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::{info, warn};
use webgateway_proto::model::{CertificateId, Host};

use super::issuer::{Issuer, NotIssued};
use super::schedule::{Plan, Wanted, plan};
use crate::clock::Clock;
use crate::reconcile::Reconciler;
use crate::seal::SecretKey;
use crate::store::certificates::{
    Issued, drop as drop_certificate, list, put, terminated_hosts, uncovered_hosts,
};
use crate::store::{Store, StoreError};

/// How often everything is looked at; between, only what has changed.
const FULL_PASS: Duration = Duration::from_secs(3600);
/// How many certificates are written in one transaction.
const CHUNK: usize = 64;

/// Sees to the certificates.
pub struct Certificates {
    store: Store,
    key: Arc<SecretKey>,
    issuer: Issuer,
    base: Host,
    clock: Clock,
    /// Everything up to this revision has been looked at.
    seen: u64,
    /// When everything is to be looked at again.
    full_at: OffsetDateTime,
}

/// Why a pass over the certificates failed.
#[derive(Debug, Error)]
pub enum PassFailed {
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Some could not be issued; the others were.
    #[error("{count} certificates were not issued; the first: {first}")]
    NotIssued {
        /// How many.
        count: usize,
        /// The first of them.
        first: NotIssued,
    },
}

impl Certificates {
    /// For the terminated routes of `store` and the base domain.
    #[must_use]
    pub fn new(store: Store, key: Arc<SecretKey>, issuer: Issuer, base: Host, clock: Clock) -> Self {
        Self { store, key, issuer, base, clock, seen: 0, full_at: OffsetDateTime::UNIX_EPOCH }
    }

    /// Everything: what is missing, what is due, what nobody needs.
    async fn full_pass(&mut self, now: OffsetDateTime) -> Result<(), PassFailed> {
        let read = self.store.read("certificates", |tx| -> Result<_, StoreError> {
            Ok((tx.revision()?, terminated_hosts(tx, 0)?, list(tx)?))
        });
        let (revision, hosts, held) = read.await?;
        let Plan { issue, drop, wake } = plan(now, &self.base, hosts, &held, self.issuer.name());
        self.issue(issue, now).await?;
        self.drop(drop).await?;
        self.seen = revision;
        self.full_at = wake.map_or(now + FULL_PASS, |wake| wake.min(now + FULL_PASS));
        Ok(())
    }

    /// The hosts of routes that changed since the last pass.
    async fn quick_pass(&mut self, now: OffsetDateTime) -> Result<(), PassFailed> {
        let seen = self.seen;
        let read = self.store.read("uncovered hosts", move |tx| -> Result<_, StoreError> {
            Ok((tx.revision()?, uncovered_hosts(tx, seen)?))
        });
        let (revision, hosts) = read.await?;
        let wanted = hosts.iter().filter_map(|host| Wanted::host(host, &self.base)).collect();
        self.issue(wanted, now).await?;
        self.seen = revision;
        Ok(())
    }

    async fn issue(&self, wanted: Vec<Wanted>, now: OffsetDateTime) -> Result<(), PassFailed> {
        let (mut failed, mut first) = (0, None);
        for chunk in wanted.chunks(CHUNK) {
            let mut issued = Vec::with_capacity(chunk.len());
            for wanted in chunk {
                match self.issuer.issue(wanted, now).await {
                    Ok(certificate) => issued.push(certificate),
                    Err(error) => {
                        warn!(%error, "a certificate was not issued");
                        failed += 1;
                        first.get_or_insert(error);
                    }
                }
            }
            self.keep(issued).await?;
        }
        first.map_or(Ok(()), |first| Err(PassFailed::NotIssued { count: failed, first }))
    }

    async fn keep(&self, issued: Vec<Issued>) -> Result<(), StoreError> {
        if issued.is_empty() {
            return Ok(());
        }
        for certificate in &issued {
            let until = certificate.not_after.format(&Rfc3339).unwrap_or_default();
            info!(id = %certificate.id, until, "a certificate was issued");
        }
        let key = Arc::clone(&self.key);
        let write = move |tx: &mut crate::store::WriteTx<'_>| {
            issued.iter().try_for_each(|certificate| put(tx, certificate, &key))
        };
        self.store.write("certificates issued", write).await
    }

    async fn drop(&self, unneeded: Vec<CertificateId>) -> Result<(), StoreError> {
        if unneeded.is_empty() {
            return Ok(());
        }
        info!(count = unneeded.len(), "certificates that no route needs are dropped");
        let write = move |tx: &mut crate::store::WriteTx<'_>| {
            unneeded.iter().try_for_each(|id| drop_certificate(tx, id))
        };
        self.store.write("certificates dropped", write).await
    }
}

impl Reconciler for Certificates {
    type Error = PassFailed;

    async fn pass(&mut self) -> Result<Duration, PassFailed> {
        let now = self.clock.now();
        if now >= self.full_at {
            self.full_pass(now).await?;
        } else {
            self.quick_pass(now).await?;
        }
        Ok(Duration::try_from(self.full_at - now).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
