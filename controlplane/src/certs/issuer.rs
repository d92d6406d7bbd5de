//! Who issues certificates.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use time::OffsetDateTime;
use tokio::time::sleep;
use tracing::{info, warn};
use webgateway_proto::model::{CertName, CertificateId, DnsRecord};

use super::acme::{AcmeErrorKind, Ca};
use super::budget::Budget;
use super::internal::InternalCa;
use super::order::{OrderError, Orders};
use super::preflight::{Inspector, Preflight};
use super::schedule::{CertificateSpec, ca_index, recheck_at, renew_at, retry_at};
use super::solver::ChallengeKind;
use crate::clock::rfc3339;
use crate::metrics::Metrics;
use crate::store::certificates::{CertificateInfo, IssuedCertificate, find as find_certificate, leaf, put};
use crate::store::issuance::{self, IssuanceState};
use crate::store::{StoreError, orders};

/// When a CA that has no opinion on renewals is asked again.
const RENEWAL_INFO_INTERVAL: time::Duration = time::Duration::days(1);
/// How long nothing is tried after the store failed.
const STORE_RETRY_DELAY: Duration = Duration::from_secs(60);

/// One of the challenge_kinds to get certificates.
#[derive(Debug, Clone)]
pub(crate) enum Issuer {
    /// The local CA: at once.
    Internal(InternalCa),
    /// CAs over ACME: each in its own time.
    Acme(AcmeIssuer),
}

/// Why a certificate was not issued by the local CA.
#[derive(Debug, Error)]
#[error("the internal CA cannot issue for {id}: {source}")]
pub struct IssueError {
    /// What the certificate would have been called.
    pub id: String,
    /// Why.
    pub source: rcgen::Error,
}

/// CAs over ACME. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct AcmeIssuer(Arc<AcmeIssuerParts>);

/// What an [`AcmeIssuer`] is made of.
#[derive(Debug)]
pub(crate) struct AcmeIssuerParts {
    /// The CAs, the first one first; at least one.
    pub cas: Vec<Ca>,
    /// Places the orders.
    pub orders: Orders,
    /// Looks before an order is placed.
    pub inspector: Inspector,
    /// Where outcomes are counted.
    pub metrics: Metrics,
}

/// Why an attempt did not lead to a certificate.
enum AttemptError {
    /// The DNS does not lead to us.
    Missing {
        /// What was found instead.
        reason: String,
        /// What to create.
        records: Vec<DnsRecord>,
    },
    /// The order.
    Order(OrderError),
}

impl Issuer {
    /// The words in the store for those whose certificates are good; the first issues now.
    #[must_use]
    pub(crate) fn names(&self) -> Vec<String> {
        match self {
            Self::Internal(_) => vec![super::internal::NAME.to_owned()],
            Self::Acme(acme) => acme.0.cas.iter().map(|ca| ca.directory().to_owned()).collect(),
        }
    }
}

impl AcmeIssuer {
    /// Of these parts.
    #[must_use]
    pub(crate) fn new(parts: AcmeIssuerParts) -> Self {
        Self(Arc::new(parts))
    }

    /// One attempt at a certificate; what came of it is in the store. Gives when the next one is due.
    pub(crate) async fn attempt(self, spec: CertificateSpec) -> OffsetDateTime {
        match self.attempt_once(&spec).await {
            Ok(next) => next,
            Err(error) => {
                warn!(id = %spec.id, %error, "the outcome of an attempt cannot be kept");
                sleep(STORE_RETRY_DELAY).await;
                self.now()
            }
        }
    }

    /// Asks the CA of a certificate when it wants it renewed. Gives when that, or the next question, is due.
    pub(crate) async fn update_renewal_window(self, id: CertificateId) -> OffsetDateTime {
        match self.update_renewal_window_once(&id).await {
            Ok(next) => next,
            Err(error) => {
                warn!(%id, %error, "what a CA wants cannot be kept");
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
            Ok(challenge_kinds) => self.order(ca, spec, &challenge_kinds).await.map_err(AttemptError::Order),
            Err(missing) => Err(missing),
        };
        match issued {
            Ok(issued) => self.store_certificate(ca, issued).await,
            Err(failed) => self.record_failure(ca, state, failed).await,
        }
    }

    async fn order(
        &self,
        ca: &Ca,
        spec: &CertificateSpec,
        challenge_kinds: &[ChallengeKind],
    ) -> Result<IssuedCertificate, OrderError> {
        let orders = &self.0.orders;
        match orders.issue(ca, spec, challenge_kinds).await {
            Err(OrderError::Acme(refused)) if refused.kind == AcmeErrorKind::UnknownAccount => {
                warn!(ca = ca.directory(), %refused, "the CA does not know our account: another is made");
                orders.accounts.forget(ca).await?;
                orders.issue(ca, spec, challenge_kinds).await
            }
            issued => issued,
        }
    }

    /// How the names can be proven. After a failure another way comes first.
    async fn challenge_kinds(
        &self,
        ca: &Ca,
        spec: &CertificateSpec,
        failures: u32,
    ) -> Result<Vec<ChallengeKind>, AttemptError> {
        let Some(CertName::Exact(host)) = spec.names.first() else { return Ok(vec![ChallengeKind::Dns01]) };
        match self.0.inspector.preflight(host, ca.identities().await).await {
            Preflight::Ready(mut challenge_kinds) => {
                let first = usize::try_from(failures).unwrap_or_default() % challenge_kinds.len().max(1);
                challenge_kinds.rotate_left(first);
                Ok(challenge_kinds)
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
        info!(id = %issued.id, ca = ca.directory(), until = rfc3339(issued.not_after), "a certificate was issued");
        metrics.attempt("issued");
        let (key, now, directory) = (Arc::clone(key), self.now(), ca.directory().to_owned());
        let write = store.write("certificate issued", move |tx| -> Result<_, StoreError> {
            put(tx, &issued, &key)?;
            orders::delete(tx, &issued.id, &directory)?;
            Budget::at(&directory).record_certificate(tx, &issued.names, now)?;
            let renew_at = renew_at(&certificate_info(&issued), None);
            let state = IssuanceState {
                next_attempt: Some(renew_at),
                last_ca: Some(directory),
                ..IssuanceState::new(issued.id.clone())
            };
            issuance::put(tx, &state)?;
            // The CA is asked for its opinion at once.
            Ok(now)
        });
        write.await
    }

    async fn record_failure(
        &self,
        ca: &Ca,
        before: IssuanceState,
        failed: AttemptError,
    ) -> Result<OffsetDateTime, StoreError> {
        let now = self.now();
        let unproven = match &failed {
            AttemptError::Order(OrderError::Unproven { hosts, .. }) => hosts.clone(),
            AttemptError::Order(_) | AttemptError::Missing { .. } => Vec::new(),
        };
        let (outcome, state) = after_failure(now, before, failed);
        let state =
            IssuanceState { last_ca: Some(ca.directory().to_owned()), renew_requested: false, ..state };
        let next = state.next_attempt.unwrap_or(now);
        let error = state.last_error.clone().unwrap_or_default();
        let at = rfc3339(next);
        warn!(id = %state.id, ca = ca.directory(), outcome, error, failures = state.failures, next = at, "no certificate");
        self.0.metrics.attempt(outcome);
        let budget = Budget::at(ca.directory());
        let write = self.0.orders.store.write("issuance failed", move |tx| -> Result<_, StoreError> {
            unproven.iter().try_for_each(|host| budget.record_failure(tx, host, now))?;
            issuance::put(tx, &state)
        });
        write.await.map(|()| next)
    }

    async fn update_renewal_window_once(&self, id: &CertificateId) -> Result<OffsetDateTime, StoreError> {
        let (store, asked) = (&self.0.orders.store, id.clone());
        let read = store.read("renewal", move |tx| -> Result<_, StoreError> {
            Ok((find_certificate(tx, asked.as_str())?, leaf(tx, &asked)?))
        });
        let now = self.now();
        let (Some(held), Some(leaf)) = read.await? else { return Ok(now + RENEWAL_INFO_INTERVAL) };
        let ca = self.0.cas.iter().find(|ca| ca.directory() == held.issuer);
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
            state.ask_at =
                Some(window.map_or(now + RENEWAL_INFO_INTERVAL, |window| {
                    window.ask_at.max(now + STORE_RETRY_DELAY)
                }));
            if let Some(window) = window {
                let at = random_time_in(window.start, window.end);
                // One moment in the window, chosen once.
                let chosen = state.renew_at.filter(|at| (window.start..=window.end).contains(at));
                state.renew_at = Some(chosen.unwrap_or(at));
            }
            let due = renew_at(&held, state.renew_at);
            if state.last_error.is_none() {
                state.next_attempt = Some(due);
            }
            issuance::put(tx, &state)?;
            Ok(state.ask_at.map_or(due, |ask_at| ask_at.min(due)))
        });
        write.await
    }
}

/// How it state after a failure, and the word for what happened.
fn after_failure(
    now: OffsetDateTime,
    before: IssuanceState,
    failed: AttemptError,
) -> (&'static str, IssuanceState) {
    let retry_after = match &failed {
        AttemptError::Order(OrderError::Acme(refused)) => refused.retry_after,
        AttemptError::Order(_) | AttemptError::Missing { .. } => None,
    };
    match failed {
        AttemptError::Missing { reason, records } => {
            let since = before.missing_since.unwrap_or(now);
            let next_attempt = Some(recheck_at(now, since));
            let missing_since = Some(since);
            let last_error = Some(reason);
            ("missing", IssuanceState { records, next_attempt, missing_since, last_error, ..before })
        }
        AttemptError::Order(OrderError::Budget(used_up)) => {
            let last_error = Some(used_up.to_string());
            (
                "held_back",
                IssuanceState {
                    next_attempt: Some(used_up.until),
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

/// Nothing is missing any more.
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

/// A moment in between, any (RFC 9773 §4.2).
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
