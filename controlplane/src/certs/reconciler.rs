//! The reconciler of certificates, which issues and renews them for the hosts of all terminated routes.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use thiserror::Error;
use time::OffsetDateTime;
use tracing::{info, warn};
use webgateway_proto::model::{CertificateId, Host, KeyId};
use webgateway_seal::SecretKey;

use super::internal::InternalCa;
use super::issuer::{AcmeIssuer, IssueError, Issuer};
use super::schedule::{CertificateAction, CertificatePlan, CertificateSpec, Inventory, decide, plan};
use crate::clock::{Clock, rfc3339};
use crate::fair::FairQueue;
use crate::metrics::Metrics;
use crate::reconcile::Reconciler;
use crate::store::certificates::{
    IssuedCertificate, list, mark_dropped, put, terminated_hosts, uncovered_hosts,
};
use crate::store::{Store, StoreError, Tx, WriteTx, certificate_counts, issuance, orders};

/// The interval between passes over all certificates. The passes in between look only at changed routes.
const FULL_PASS_INTERVAL: Duration = Duration::from_secs(3600);
/// The maximum number of certificates written in one transaction.
const MAX_CERTIFICATES_PER_WRITE: usize = 64;
/// The maximum number of concurrent jobs at CAs, in all and for the hosts of one owner.
const MAX_RUNNING_JOBS: usize = 16;
const MAX_RUNNING_JOBS_OF_OWNER: usize = 4;

/// A reconciler that keeps a valid certificate for each terminated host and for the base domain.
pub(crate) struct CertificateReconciler {
    store: Store,
    key: Arc<SecretKey>,
    issuer: Issuer,
    base: Host,
    clock: Clock,
    metrics: Metrics,
    /// The revision of the store up to which routes have been examined.
    seen: u64,
    /// The time of the next full pass.
    full_at: OffsetDateTime,
    /// Is true if the gauges of certificates may be out of date.
    counts_changed: bool,
    /// The pending and running requests to CAs.
    jobs: AcmeJobs,
}

/// The dependencies of a [`CertificateReconciler`].
pub(crate) struct CertificateReconcilerParts {
    /// The database.
    pub store: Store,
    /// The key that seals private keys.
    pub key: Arc<SecretKey>,
    /// The issuer of new certificates.
    pub issuer: Issuer,
    /// The base domain.
    pub base: Host,
    /// The source of the time.
    pub clock: Clock,
    /// The gauges of certificates by state.
    pub metrics: Metrics,
}

/// A queue of jobs at CAs over ACME, of which a few run concurrently. Owners take turns; the gateway itself is one of
/// them.
struct AcmeJobs {
    /// The certificates with a waiting or running job.
    busy: BTreeSet<CertificateId>,
    waiting: FairQueue<Option<KeyId>, AcmeJob>,
    running: FuturesUnordered<OwnedJob>,
}

/// A job that returns the certificate and the time of its next action.
type AcmeJob = BoxFuture<'static, (CertificateId, OffsetDateTime)>;

/// An error of a pass over the certificates.
#[derive(Debug, Error)]
pub enum PassError {
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Some certificates could not be issued; the others were.
    #[error("{count} certificates were not issued; the first: {first}")]
    Issue {
        /// The number of failures.
        count: usize,
        /// The first failure.
        first: IssueError,
    },
}

/// A job with the owner whose turn it takes.
type OwnedJob = BoxFuture<'static, (Option<KeyId>, (CertificateId, OffsetDateTime))>;

impl AcmeJobs {
    fn new() -> Self {
        let waiting = FairQueue::new(MAX_RUNNING_JOBS_OF_OWNER);
        Self { busy: BTreeSet::new(), waiting, running: FuturesUnordered::new() }
    }

    fn add(&mut self, owner: Option<KeyId>, id: CertificateId, job: AcmeJob) {
        if self.busy.insert(id) {
            self.waiting.push(owner, job);
        }
    }

    /// Waits for a job to finish and returns the time of the next action on its certificate. Never returns without
    /// jobs.
    async fn next(&mut self) -> OffsetDateTime {
        while self.running.len() < MAX_RUNNING_JOBS
            && let Some((owner, job)) = self.waiting.pop()
        {
            self.running.push(Box::pin(async move { (owner, job.await) }));
        }
        match self.running.next().await {
            Some((owner, (id, due))) => {
                self.waiting.finish(&owner);
                self.busy.remove(&id);
                due
            }
            None => pending().await,
        }
    }
}

impl CertificateReconciler {
    /// Creates a reconciler for the terminated routes in the store and for the base domain.
    #[must_use]
    pub(crate) fn new(parts: CertificateReconcilerParts) -> Self {
        let CertificateReconcilerParts { store, key, issuer, base, clock, metrics } = parts;
        let (seen, full_at, jobs) = (0, OffsetDateTime::UNIX_EPOCH, AcmeJobs::new());
        Self { store, key, issuer, base, clock, metrics, seen, full_at, counts_changed: false, jobs }
    }

    /// Examines all certificates: issues missing ones, renews due ones, drops unneeded ones.
    async fn full_pass(&mut self, now: OffsetDateTime) -> Result<(), PassError> {
        let base = self.base.clone();
        let read = self.store.read("certificates", move |tx| -> Result<_, StoreError> {
            Ok((tx.revision()?, terminated_hosts(tx, 0, &base)?, list(tx)?, issuance::list(tx)?))
        });
        let (revision, hosts, certificates, states) = read.await?;
        self.counts_changed = true;
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

    /// Examines only the hosts of routes that changed since the last pass, unless a renewal was requested: then, all.
    async fn quick_pass(&mut self, now: OffsetDateTime) -> Result<(), PassError> {
        let (seen, base) = (self.seen, self.base.clone());
        let read = self.store.read("uncovered hosts", move |tx| -> Result<_, StoreError> {
            let mut candidates = Vec::new();
            for host in uncovered_hosts(tx, seen, &base)? {
                if let Some(spec) = CertificateSpec::host(&host, &base) {
                    let state = issuance::find(tx, &spec.id)?;
                    candidates.push((spec, state));
                }
            }
            Ok((tx.revision()?, candidates, issuance::any_requested(tx)?))
        });
        let (revision, candidates, requested) = read.await?;
        if requested {
            return self.full_pass(now).await;
        }
        let mut issue = Vec::new();
        for (spec, state) in candidates {
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

    async fn update_gauges(&mut self, now: OffsetDateTime) -> Result<(), StoreError> {
        let count = self.store.read("certificate counts", move |tx| certificate_counts::count(tx, now));
        self.metrics.certificates(count.await?);
        self.counts_changed = false;
        Ok(())
    }

    async fn issue(&mut self, specs: Vec<CertificateSpec>, now: OffsetDateTime) -> Result<(), PassError> {
        self.counts_changed |= !specs.is_empty();
        match self.issuer.clone() {
            Issuer::Internal(ca) => self.issue_internal(&ca, &specs, now).await,
            Issuer::Acme(acme) => {
                for (owner, spec) in with_owners(&self.store, specs).await? {
                    let (id, acme): (_, AcmeIssuer) = (spec.id.clone(), acme.clone());
                    let job = async move { (spec.id.clone(), acme.attempt(spec).await) };
                    self.jobs.add(owner, id, Box::pin(job));
                }
                Ok(())
            }
        }
    }

    fn query_renewal_info(&mut self, ids: Vec<CertificateId>) {
        let Issuer::Acme(acme) = &self.issuer else { return };
        for id in ids {
            let acme = acme.clone();
            let key = id.clone();
            let job = async move { (id.clone(), acme.update_renewal_window(id).await) };
            self.jobs.add(None, key, Box::pin(job));
        }
    }

    async fn issue_internal(
        &mut self,
        ca: &InternalCa,
        specs: &[CertificateSpec],
        now: OffsetDateTime,
    ) -> Result<(), PassError> {
        let (mut failed, mut first) = (0, None);
        for chunk in specs.chunks(MAX_CERTIFICATES_PER_WRITE) {
            let mut issued = Vec::with_capacity(chunk.len());
            for spec in chunk {
                match ca.issue(spec, now) {
                    Ok(certificate) => issued.push(certificate),
                    Err(source) => {
                        let error = IssueError { id: spec.id.to_string(), source };
                        warn!(%error, "certificate not issued");
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
            info!(id = %certificate.id, until, "certificate issued");
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
        info!(count = unneeded.len(), "unneeded certificates dropped");
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
        let passed = if now >= self.full_at { self.full_pass(now).await } else { self.quick_pass(now).await };
        if self.counts_changed {
            self.update_gauges(now).await?;
        }
        passed?;
        Ok(Duration::try_from(self.full_at - now).unwrap_or_default())
    }

    async fn run_background_work(&mut self) {
        let due = self.jobs.next().await;
        self.full_at = self.full_at.min(due);
        self.counts_changed = true;
    }
}

/// Returns the specs with the owners of their hosts; the base domain has none.
async fn with_owners(
    store: &Store,
    specs: Vec<CertificateSpec>,
) -> Result<Vec<(Option<KeyId>, CertificateSpec)>, StoreError> {
    if specs.is_empty() {
        return Ok(Vec::new());
    }
    let read = move |tx: &mut Tx<'_>| {
        let owned = |spec: CertificateSpec| Ok((spec.owner(tx)?, spec));
        specs.into_iter().map(owned).collect()
    };
    store.read("certificate owners", read).await
}

#[cfg(test)]
mod tests;
