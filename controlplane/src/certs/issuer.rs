//! Issuers of certificates: the internal CA and CAs over ACME.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use thiserror::Error;
use time::OffsetDateTime;
use tokio::time::sleep;
use tracing::{info, warn};
use webgateway_proto::model::{CertName, CertificateId, DnsRecord};

use super::acme::{AcmeErrorKind, Ca};
use super::budget::{Budget, OrderSubject};
use super::internal::InternalCa;
use super::order::{OrderError, Orders};
use super::preflight::{Preflight, PreflightChecker};
use super::schedule::{CertificateSpec, ca_index, recheck_at, renew_at, retry_at};
use super::solver::ChallengeKind;
use crate::clock::rfc3339;
use crate::metrics::Metrics;
use crate::store::certificates::{CertificateInfo, IssuedCertificate, find as find_certificate, leaf, put};
use crate::store::issuance::{self, IssuanceState};
use crate::store::{StoreError, orders};

/// The interval between requests to a CA that provides no renewal information.
const RENEWAL_INFO_INTERVAL: time::Duration = time::Duration::days(1);
/// The delay after a failure of the store.
const STORE_RETRY_DELAY: Duration = Duration::from_secs(60);

/// A source of certificates.
#[derive(Debug, Clone)]
pub(crate) enum Issuer {
    /// The internal CA, which issues immediately.
    Internal(InternalCa),
    /// CAs over ACME, which take seconds to minutes.
    Acme(AcmeIssuer),
}

/// An error of the internal CA.
#[derive(Debug, Error)]
#[error("the internal CA cannot issue for {id}: {source}")]
pub struct IssueError {
    /// The certificate's id.
    pub id: String,
    /// The reason.
    pub source: rcgen::Error,
}

/// An issuer that gets certificates from CAs over ACME. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct AcmeIssuer(Arc<AcmeIssuerParts>);

/// The dependencies of an [`AcmeIssuer`].
#[derive(Debug)]
pub(crate) struct AcmeIssuerParts {
    /// The CAs in order of preference; at least one.
    pub cas: Vec<Ca>,
    /// The executor of orders.
    pub orders: Orders,
    /// The preflight check before each order; a reload replaces it.
    pub preflight: Arc<ArcSwap<PreflightChecker>>,
    /// The counters of outcomes.
    pub metrics: Metrics,
}

/// The reason why an attempt yielded no certificate.
enum AttemptError {
    /// The host's DNS records do not lead to this gateway.
    Missing {
        /// A description of the obstacle.
        reason: String,
        /// The records to create.
        records: Vec<DnsRecord>,
    },
    /// The order failed.
    Order(OrderError),
}

impl Issuer {
    /// Returns the names under which the store records acceptable issuers. The first one issues new certificates.
    #[must_use]
    pub(crate) fn names(&self) -> Vec<String> {
        match self {
            Self::Internal(_) => vec![super::internal::NAME.to_owned()],
            Self::Acme(acme) => acme.0.cas.iter().map(|ca| ca.directory().to_owned()).collect(),
        }
    }
}

impl AcmeIssuer {
    /// Creates an issuer.
    #[must_use]
    pub(crate) fn new(parts: AcmeIssuerParts) -> Self {
        Self(Arc::new(parts))
    }

    /// Attempts to get a certificate and records the outcome in the store. Returns the time of the next attempt.
    pub(crate) async fn attempt(self, spec: CertificateSpec) -> OffsetDateTime {
        match self.attempt_once(&spec).await {
            Ok(next) => next,
            Err(error) => {
                warn!(id = %spec.id, %error, "cannot record the outcome of a certificate attempt");
                sleep(STORE_RETRY_DELAY).await;
                self.now()
            }
        }
    }

    /// Requests the renewal window of a certificate from its CA and records it. Returns the time at which the renewal
    /// or the next such request is due.
    pub(crate) async fn update_renewal_window(self, id: CertificateId) -> OffsetDateTime {
        match self.update_renewal_window_once(&id).await {
            Ok(next) => next,
            Err(error) => {
                warn!(%id, %error, "cannot record the renewal window of a certificate");
                sleep(STORE_RETRY_DELAY).await;
                self.now()
            }
        }
    }

    fn now(&self) -> OffsetDateTime {
        self.0.orders.clock.now()
    }

    async fn attempt_once(&self, spec: &CertificateSpec) -> Result<OffsetDateTime, StoreError> {
        let id = spec.id.clone();
        let state = self.0.orders.store.read("issuance", move |tx| issuance::find(tx, &id)).await?;
        let cas = &self.0.cas;
        let Some(ca) = cas.get(ca_index(state.failures, cas.len())) else { return Ok(self.now()) };
        let issued = match self.challenge_kinds(ca, spec, state.failures).await {
            Ok(kinds) => self.order(ca, spec, &kinds).await.map_err(AttemptError::Order),
            Err(missing) => Err(missing),
        };
        match issued {
            Ok(issued) => self.store_certificate(ca, issued).await,
            Err(error) => self.record_failure(ca, state, error).await,
        }
    }

    async fn order(
        &self,
        ca: &Ca,
        spec: &CertificateSpec,
        kinds: &[ChallengeKind],
    ) -> Result<IssuedCertificate, OrderError> {
        let orders = &self.0.orders;
        match orders.issue(ca, spec, kinds).await {
            Err(OrderError::Acme(error)) if error.kind == AcmeErrorKind::UnknownAccount => {
                warn!(ca = ca.directory(), %error, "account unknown to the CA, creating another");
                orders.accounts.forget(ca).await?;
                orders.issue(ca, spec, kinds).await
            }
            issued => issued,
        }
    }

    /// Returns the challenges that can succeed. Each failure rotates the list, so that another challenge is tried
    /// first.
    async fn challenge_kinds(
        &self,
        ca: &Ca,
        spec: &CertificateSpec,
        failures: u32,
    ) -> Result<Vec<ChallengeKind>, AttemptError> {
        let Some(CertName::Exact(host)) = spec.names.first() else { return Ok(vec![ChallengeKind::Dns01]) };
        match self.0.preflight.load_full().preflight(host, ca.identities().await).await {
            Preflight::Ready(mut kinds) => {
                let first = usize::try_from(failures).unwrap_or_default() % kinds.len().max(1);
                kinds.rotate_left(first);
                Ok(kinds)
            }
            Preflight::Missing { reason, records } => Err(AttemptError::Missing { reason, records }),
        }
    }

    async fn store_certificate(
        &self,
        ca: &Ca,
        issued: IssuedCertificate,
    ) -> Result<OffsetDateTime, StoreError> {
        let AcmeIssuerParts { orders: Orders { key, store, .. }, metrics, .. } = &*self.0;
        info!(id = %issued.id, ca = ca.directory(), until = rfc3339(issued.not_after), "certificate issued");
        metrics.attempt("issued");
        let (key, now, directory) = (Arc::clone(key), self.now(), ca.directory().to_owned());
        let write = store.write("certificate issued", move |tx| -> Result<_, StoreError> {
            let spec = CertificateSpec { id: issued.id.clone(), names: issued.names.clone() };
            let (owner, before) = (spec.owner(tx)?, find_certificate(tx, issued.id.as_str())?);
            let is_renewal = before.is_some_and(|before| before.issuer == directory);
            put(tx, &issued, &key)?;
            orders::delete(tx, &issued.id, &directory)?;
            let subject = OrderSubject { names: &issued.names, owner: owner.as_ref() };
            Budget::for_ca(&directory).record_certificate(tx, subject, now, is_renewal)?;
            let renew_at = renew_at(&certificate_info(&issued), None);
            let state = IssuanceState {
                next_attempt: Some(renew_at),
                last_ca: Some(directory),
                ..IssuanceState::new(issued.id.clone())
            };
            issuance::put(tx, &state)?;
            // The renewal window is requested immediately.
            Ok(now)
        });
        write.await
    }

    async fn record_failure(
        &self,
        ca: &Ca,
        before: IssuanceState,
        error: AttemptError,
    ) -> Result<OffsetDateTime, StoreError> {
        let now = self.now();
        let unvalidated = match &error {
            AttemptError::Order(OrderError::ValidationFailed { hosts, .. }) => hosts.clone(),
            AttemptError::Order(_) | AttemptError::Missing { .. } => Vec::new(),
        };
        let (outcome, state) = after_failure(now, before, error);
        let state =
            IssuanceState { last_ca: Some(ca.directory().to_owned()), renew_requested: false, ..state };
        let next = state.next_attempt.unwrap_or(now);
        let reason = state.last_error.clone().unwrap_or_default();
        let at = rfc3339(next);
        let (ca_directory, failures) = (ca.directory(), state.failures);
        warn!(id = %state.id, ca = ca_directory, outcome, error = reason, failures, next = at, "certificate attempt failed");
        self.0.metrics.attempt(outcome);
        let budget = Budget::for_ca(ca.directory());
        let write = self.0.orders.store.write("issuance failed", move |tx| -> Result<_, StoreError> {
            unvalidated.iter().try_for_each(|host| budget.record_failure(tx, host, now))?;
            issuance::put(tx, &state)
        });
        write.await.map(|()| next)
    }

    async fn update_renewal_window_once(&self, id: &CertificateId) -> Result<OffsetDateTime, StoreError> {
        let (store, certificate_id) = (&self.0.orders.store, id.clone());
        let read = store.read("renewal", move |tx| -> Result<_, StoreError> {
            Ok((find_certificate(tx, certificate_id.as_str())?, leaf(tx, &certificate_id)?))
        });
        let now = self.now();
        let (Some(certificate), Some(leaf)) = read.await? else { return Ok(now + RENEWAL_INFO_INTERVAL) };
        let ca = self.0.cas.iter().find(|ca| ca.directory() == certificate.issuer);
        let window = match ca {
            Some(ca) => match self.0.orders.accounts.session(ca).await {
                Ok(session) => session.renewal_window(&leaf, now).await.ok(),
                Err(_) => None,
            },
            None => None,
        };
        let id = id.clone();
        let write = store.write("renewal asked", move |tx| -> Result<_, StoreError> {
            let mut state = issuance::find(tx, &id)?;
            let ask_at = window.map(|window| window.ask_at.max(now + STORE_RETRY_DELAY));
            state.ask_at = Some(ask_at.unwrap_or(now + RENEWAL_INFO_INTERVAL));
            if let Some(window) = window {
                let at = random_time_in(window.start, window.end);
                // The time is chosen once, at random, and kept as long as it lies in the window.
                let chosen = state.renew_at.filter(|at| (window.start..=window.end).contains(at));
                state.renew_at = Some(chosen.unwrap_or(at));
            }
            let due = renew_at(&certificate, state.renew_at);
            if state.last_error.is_none() {
                state.next_attempt = Some(due);
            }
            issuance::put(tx, &state)?;
            Ok(state.ask_at.map_or(due, |ask_at| ask_at.min(due)))
        });
        write.await
    }
}

/// Returns the outcome's name in the metrics and the state of issuance after a failure.
fn after_failure(
    now: OffsetDateTime,
    before: IssuanceState,
    error: AttemptError,
) -> (&'static str, IssuanceState) {
    let retry_after = match &error {
        AttemptError::Order(OrderError::Acme(error)) => error.retry_after,
        AttemptError::Order(_) | AttemptError::Missing { .. } => None,
    };
    match error {
        AttemptError::Missing { reason, records } => {
            let since = before.missing_since.unwrap_or(now);
            let next_attempt = Some(recheck_at(now, since));
            let missing_since = Some(since);
            let last_error = Some(reason);
            ("missing", IssuanceState { records, next_attempt, missing_since, last_error, ..before })
        }
        AttemptError::Order(OrderError::Budget(exhausted)) => {
            let last_error = Some(exhausted.to_string());
            (
                "held_back",
                IssuanceState {
                    next_attempt: Some(exhausted.until),
                    last_error,
                    ..without_missing_records(before)
                },
            )
        }
        AttemptError::Order(error) => {
            let failures = before.failures.saturating_add(1);
            let next_attempt = Some(retry_at(now, failures, retry_after));
            let last_error = Some(error.to_string());
            (
                "failed",
                IssuanceState { failures, next_attempt, last_error, ..without_missing_records(before) },
            )
        }
    }
}

/// Returns the state without the records that were missing.
fn without_missing_records(before: IssuanceState) -> IssuanceState {
    IssuanceState { records: Vec::new(), missing_since: None, ..before }
}

fn certificate_info(issued: &IssuedCertificate) -> CertificateInfo {
    CertificateInfo {
        id: issued.id.clone(),
        names: issued.names.clone(),
        issuer: issued.issuer.clone(),
        not_before: issued.not_before,
        not_after: issued.not_after,
    }
}

/// Returns a random time in the window (RFC 9773 §4.2).
fn random_time_in(start: OffsetDateTime, end: OffsetDateTime) -> OffsetDateTime {
    let mut random = [0; 4];
    if aws_lc_rs::rand::fill(&mut random).is_err() {
        return start;
    }
    let part = f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX);
    start + (end - start).max(time::Duration::ZERO) * part
}

#[cfg(test)]
mod tests;
