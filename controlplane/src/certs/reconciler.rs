//! The reconciler of certificates: every terminated host has one, soon after its route is created and ever after.

use std::collections::{BTreeSet, VecDeque};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use thiserror::Error;
use time::OffsetDateTime;
use tracing::{info, warn};
use webgateway_proto::model::{CertificateId, Host};
use webgateway_seal::SecretKey;

use super::internal::InternalCa;
use super::issuer::{AcmeIssuer, IssueError, Issuer};
use super::schedule::{CertificateAction, CertificatePlan, CertificateSpec, Inventory, decide, plan};
use crate::clock::{Clock, rfc3339};
use crate::metrics::{CertificateCounts, Metrics};
use crate::reconcile::Reconciler;
use crate::store::certificates::{
    CertificateInfo, IssuedCertificate, drop as mark_dropped, list, put, terminated_hosts, uncovered_hosts,
};
use crate::store::issuance::{self, IssuanceState};
use crate::store::{Store, StoreError, WriteTx, orders};

/// How often everything is looked at; between, only what has changed.
const FULL_PASS_INTERVAL: Duration = Duration::from_secs(3600);
/// How many certificates are written in one transaction.
const MAX_CERTIFICATES_PER_WRITE: usize = 64;
/// How many CAs' answers are waited for at once.
const MAX_RUNNING_JOBS: usize = 16;

/// Sees to the certificates.
pub(crate) struct CertificateReconciler {
    store: Store,
    key: Arc<SecretKey>,
    issuer: Issuer,
    base: Host,
    clock: Clock,
    metrics: Metrics,
    /// Everything up to this revision has been looked at.
    seen: u64,
    /// When everything is to be looked at again.
    full_at: OffsetDateTime,
    /// What takes its time.
    jobs: AcmeJobs,
}

/// The parts that [`CertificateReconciler`] works with.
pub(crate) struct CertificateReconcilerParts {
    /// The database.
    pub store: Store,
    /// The key that seals private keys.
    pub key: Arc<SecretKey>,
    /// Issues the certificates.
    pub issuer: Issuer,
    /// The operator's domain.
    pub base: Host,
    /// The time.
    pub clock: Clock,
    /// Counts the certificates.
    pub metrics: Metrics,
}

/// What is asked of CAs over ACME, a few at once.
#[derive(Default)]
struct AcmeJobs {
    /// Those that are not over.
    busy: BTreeSet<CertificateId>,
    waiting: VecDeque<(CertificateId, AcmeJob)>,
    running: FuturesUnordered<AcmeJob>,
}

/// Gives the certificate it was about, and when there is more to do.
type AcmeJob = BoxFuture<'static, (CertificateId, OffsetDateTime)>;

/// Why a pass over the certificates failed.
#[derive(Debug, Error)]
pub enum PassError {
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Some could not be issued; the others were.
    #[error("{count} certificates were not issued; the first: {first}")]
    Issue {
        /// How many.
        count: usize,
        /// The first of them.
        first: IssueError,
    },
}

impl AcmeJobs {
    fn add(&mut self, id: CertificateId, job: AcmeJob) {
        if self.busy.insert(id.clone()) {
            self.waiting.push_back((id, job));
        }
    }

    /// The next one that is over; for ever if there is none.
    async fn next(&mut self) -> OffsetDateTime {
        while self.running.len() < MAX_RUNNING_JOBS
            && let Some((_, job)) = self.waiting.pop_front()
        {
            self.running.push(job);
        }
        match self.running.next().await {
            Some((id, due)) => {
                self.busy.remove(&id);
                due
            }
            None => pending().await,
        }
    }
}

impl CertificateReconciler {
    /// Sees to the certificates of the terminated routes in the store, and of the base domain.
    #[must_use]
    pub(crate) fn new(parts: CertificateReconcilerParts) -> Self {
        let CertificateReconcilerParts { store, key, issuer, base, clock, metrics } = parts;
        let (seen, full_at, jobs) = (0, OffsetDateTime::UNIX_EPOCH, AcmeJobs::default());
        Self { store, key, issuer, base, clock, metrics, seen, full_at, jobs }
    }

    /// Everything: what is missing, what is due, what nobody needs.
    async fn full_pass(&mut self, now: OffsetDateTime) -> Result<(), PassError> {
        let base = self.base.clone();
        let read = self.store.read("certificates", move |tx| -> Result<_, StoreError> {
            Ok((tx.revision()?, terminated_hosts(tx, 0, &base)?, list(tx)?, issuance::list(tx)?))
        });
        let (revision, hosts, certificates, states) = read.await?;
        self.metrics.certificates(count(now, &certificates, &states));
        let issuers = self.issuer.names();
        let inventory = Inventory {
            certificates: &certificates,
            issuance: &states,
            issuers: &issuers,
            is_acme: self.is_acme(),
        };
        let CertificatePlan { issue, query, drop, next_due } = plan(now, &self.base, hosts, inventory);
        self.issue(issue, now).await?;
        self.query_renewal_info(query);
        self.drop_unneeded(drop).await?;
        self.seen = revision;
        self.full_at = next_due.map_or(now + FULL_PASS_INTERVAL, |due| due.min(now + FULL_PASS_INTERVAL));
        Ok(())
    }

    /// The hosts of routes that changed since the last pass.
    async fn quick_pass(&mut self, now: OffsetDateTime) -> Result<(), PassError> {
        let (seen, base) = (self.seen, self.base.clone());
        let read = self.store.read("uncovered hosts", move |tx| -> Result<_, StoreError> {
            let mut spec = Vec::new();
            for host in uncovered_hosts(tx, seen, &base)? {
                if let Some(one) = CertificateSpec::host(&host, &base) {
                    let state = issuance::find(tx, &one.id)?;
                    spec.push((one, state));
                }
            }
            Ok((tx.revision()?, spec, issuance::any_requested(tx)?))
        });
        let (revision, spec, requested) = read.await?;
        if requested {
            return self.full_pass(now).await;
        }
        let mut issue = Vec::new();
        for (spec, state) in spec {
            match decide(now, &spec, None, Some(&state), Inventory::default()) {
                CertificateAction::Issue | CertificateAction::Renew | CertificateAction::QueryRenewalInfo => {
                    issue.push(spec)
                }
                CertificateAction::Wait(until) => self.full_at = self.full_at.min(until),
            }
        }
        self.issue(issue, now).await?;
        self.seen = revision;
        Ok(())
    }

    fn is_acme(&self) -> bool {
        match self.issuer {
            Issuer::Acme(_) => true,
            Issuer::Internal(_) => false,
        }
    }

    async fn issue(&mut self, spec: Vec<CertificateSpec>, now: OffsetDateTime) -> Result<(), PassError> {
        match self.issuer.clone() {
            Issuer::Internal(ca) => self.issue_internal(&ca, &spec, now).await,
            Issuer::Acme(acme) => {
                for spec in spec {
                    let (id, acme): (_, AcmeIssuer) = (spec.id.clone(), acme.clone());
                    let job = async move { (spec.id.clone(), acme.attempt(spec).await) };
                    self.jobs.add(id, Box::pin(job));
                }
                Ok(())
            }
        }
    }

    fn query_renewal_info(&mut self, ids: Vec<CertificateId>) {
        let Issuer::Acme(acme) = &self.issuer else { return };
        for id in ids {
            let (acme, asked) = (acme.clone(), id.clone());
            self.jobs
                .add(id, Box::pin(async move { (asked.clone(), acme.update_renewal_window(asked).await) }));
        }
    }

    async fn issue_internal(
        &mut self,
        ca: &InternalCa,
        spec: &[CertificateSpec],
        now: OffsetDateTime,
    ) -> Result<(), PassError> {
        let (mut failed, mut first) = (0, None);
        for chunk in spec.chunks(MAX_CERTIFICATES_PER_WRITE) {
            let mut issued = Vec::with_capacity(chunk.len());
            for spec in chunk {
                match ca.issue(spec, now) {
                    Ok(certificate) => issued.push(certificate),
                    Err(source) => {
                        let error = IssueError { id: spec.id.to_string(), source };
                        warn!(%error, "a certificate was not issued");
                        failed += 1;
                        first.get_or_insert(error);
                    }
                }
            }
            self.store_issued(issued).await?;
        }
        first.map_or(Ok(()), |first| Err(PassError::Issue { count: failed, first }))
    }

    async fn store_issued(&mut self, issued: Vec<IssuedCertificate>) -> Result<(), StoreError> {
        if issued.is_empty() {
            return Ok(());
        }
        for certificate in &issued {
            let until = rfc3339(certificate.not_after);
            info!(id = %certificate.id, until, "a certificate was issued");
        }
        let key = Arc::clone(&self.key);
        let write = move |tx: &mut WriteTx<'_>| {
            issued.iter().try_for_each(|certificate| {
                put(tx, certificate, &key)?;
                issuance::delete(tx, &certificate.id)
            })
        };
        self.store.write("certificates issued", write).await
    }

    async fn drop_unneeded(&mut self, unneeded: Vec<CertificateId>) -> Result<(), StoreError> {
        if unneeded.is_empty() {
            return Ok(());
        }
        info!(count = unneeded.len(), "certificates that no route needs are dropped");
        let write = move |tx: &mut WriteTx<'_>| {
            unneeded.iter().try_for_each(|id| {
                mark_dropped(tx, id)?;
                issuance::delete(tx, id)?;
                orders::delete_all(tx, id)
            })
        };
        self.store.write("certificates dropped", write).await
    }
}

impl Reconciler for CertificateReconciler {
    type Error = PassError;

    async fn pass(&mut self) -> Result<Duration, PassError> {
        let now = self.clock.now();
        if now >= self.full_at {
            self.full_pass(now).await?;
        } else {
            self.quick_pass(now).await?;
        }
        Ok(Duration::try_from(self.full_at - now).unwrap_or_default())
    }

    async fn wait_for_work(&mut self) {
        let due = self.jobs.next().await;
        self.full_at = self.full_at.min(due);
    }
}

/// How many are in which state, and how long the shortest still lives.
fn count(now: OffsetDateTime, held: &[CertificateInfo], state: &[IssuanceState]) -> CertificateCounts {
    let ids: BTreeSet<&CertificateId> = held.iter().map(|held| &held.id).collect();
    let failing = state.iter().filter(|state| state.failures > 0).count();
    let waiting = state.iter().filter(|state| !ids.contains(&state.id)).count();
    let expired = held.iter().filter(|held| held.not_after <= now).count();
    let left = held.iter().map(|held| (held.not_after - now).as_seconds_f64());
    CertificateCounts {
        valid: held.len() - expired,
        expired,
        waiting,
        failing,
        expiry_seconds: left.reduce(f64::min),
    }
}

#[cfg(test)]
mod tests;
