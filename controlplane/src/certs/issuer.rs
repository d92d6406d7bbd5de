//! Who issues certificates.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use thiserror::Error;
use time::OffsetDateTime;
use tokio::time::sleep;
use tracing::{info, warn};
use webgateway_proto::model::{CertName, CertificateId, DnsRecord};

use super::acme::{Ca, Refusal};
use super::budget::Budget;
use super::internal::InternalCa;
use super::order::{OrderError, Orders};
use super::preflight::{Inspector, Preflight};
use super::schedule::{Wanted, look_again_at, renew_at, retry_at, turn};
use super::solver::ChallengeKind;
use crate::clock::rfc3339;
use crate::metrics::Metrics;
use crate::store::certificates::{Issued, Validity, find as find_certificate, leaf, put};
use crate::store::issuance::{self, Issuance};
use crate::store::{StoreError, orders};

/// When a CA that has no opinion on renewals is asked again.
const ASK_AGAIN: time::Duration = time::Duration::days(1);
/// How long nothing is tried after the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(60);

/// One of the ways to get certificates.
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
pub(crate) struct AcmeIssuer(Arc<Parts>);

/// What an [`AcmeIssuer`] is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    /// The CAs, the first one first; at least one.
    pub cas: Vec<Ca>,
    /// Places the orders.
    pub orders: Orders,
    /// Looks before an order is placed; a reload puts another in its place.
    pub inspector: Arc<ArcSwap<Inspector>>,
    /// Where outcomes are counted.
    pub metrics: Metrics,
}

/// Why an attempt did not lead to a certificate.
enum Failed {
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
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// One attempt at a certificate; what came of it is in the store. Gives when the next one is due.
    pub(crate) async fn attempt(self, wanted: Wanted) -> OffsetDateTime {
        match self.try_once(&wanted).await {
            Ok(next) => next,
            Err(error) => {
                warn!(id = %wanted.id, %error, "the outcome of an attempt cannot be kept");
                sleep(STORE_PAUSE).await;
                self.now()
            }
        }
    }

    /// Asks the CA of a certificate when it wants it renewed. Gives when that, or the next question, is due.
    pub(crate) async fn ask(self, id: CertificateId) -> OffsetDateTime {
        match self.ask_once(&id).await {
            Ok(next) => next,
            Err(error) => {
                warn!(%id, %error, "what a CA wants cannot be kept");
                sleep(STORE_PAUSE).await;
                self.now()
            }
        }
    }

    fn now(&self) -> OffsetDateTime {
        self.0.orders.clock.now()
    }

    async fn try_once(&self, wanted: &Wanted) -> Result<OffsetDateTime, StoreError> {
        let id = wanted.id.clone();
        let stands = self.0.orders.store.read("issuance", move |tx| issuance::find(tx, &id)).await?;
        let cas = &self.0.cas;
        let Some(ca) = cas.get(turn(stands.failures, cas.len())) else { return Ok(self.now()) };
        let issued = match self.ways(ca, wanted, stands.failures).await {
            Ok(ways) => self.order(ca, wanted, &ways).await.map_err(Failed::Order),
            Err(missing) => Err(missing),
        };
        match issued {
            Ok(issued) => self.keep(ca, issued).await,
            Err(failed) => self.fail(ca, stands, failed).await,
        }
    }

    async fn order(&self, ca: &Ca, wanted: &Wanted, ways: &[ChallengeKind]) -> Result<Issued, OrderError> {
        let orders = &self.0.orders;
        match orders.issue(ca, wanted, ways).await {
            Err(OrderError::Refused(refused)) if refused.refusal == Refusal::NoAccount => {
                warn!(ca = ca.directory(), %refused, "the CA does not know our account: another is made");
                orders.accounts.forget(ca).await?;
                orders.issue(ca, wanted, ways).await
            }
            issued => issued,
        }
    }

    /// How the names can be proven. After a failure another way comes first.
    async fn ways(&self, ca: &Ca, wanted: &Wanted, failures: u32) -> Result<Vec<ChallengeKind>, Failed> {
        let Some(CertName::Exact(host)) = wanted.names.first() else { return Ok(vec![ChallengeKind::Dns01]) };
        match self.0.inspector.load_full().preflight(host, ca.identities().await).await {
            Preflight::Ready(mut ways) => {
                let first = usize::try_from(failures).unwrap_or_default() % ways.len().max(1);
                ways.rotate_left(first);
                Ok(ways)
            }
            Preflight::Missing { reason, records } => Err(Failed::Missing { reason, records }),
        }
    }

    async fn keep(&self, ca: &Ca, issued: Issued) -> Result<OffsetDateTime, StoreError> {
        let Parts { orders: Orders { key, store, .. }, metrics, .. } = &*self.0;
        info!(id = %issued.id, ca = ca.directory(), until = rfc3339(issued.not_after), "a certificate was issued");
        metrics.attempt("issued");
        let (key, now, directory) = (Arc::clone(key), self.now(), ca.directory().to_owned());
        let write = store.write("certificate issued", move |tx| -> Result<_, StoreError> {
            put(tx, &issued, &key)?;
            orders::forget(tx, &issued.id, &directory)?;
            Budget::at(&directory).issued(tx, &issued.names, now)?;
            let renew_at = renew_at(&validity(&issued), None);
            let stands = Issuance {
                next_attempt: Some(renew_at),
                last_ca: Some(directory),
                ..Issuance::new(issued.id.clone())
            };
            issuance::put(tx, &stands)?;
            // The CA is asked for its opinion at once.
            Ok(now)
        });
        write.await
    }

    async fn fail(&self, ca: &Ca, before: Issuance, failed: Failed) -> Result<OffsetDateTime, StoreError> {
        let now = self.now();
        let unproven = match &failed {
            Failed::Order(OrderError::Unproven { hosts, .. }) => hosts.clone(),
            Failed::Order(_) | Failed::Missing { .. } => Vec::new(),
        };
        let (outcome, stands) = after_failure(now, before, failed);
        let stands = Issuance { last_ca: Some(ca.directory().to_owned()), renew_requested: false, ..stands };
        let next = stands.next_attempt.unwrap_or(now);
        let error = stands.last_error.clone().unwrap_or_default();
        let at = rfc3339(next);
        warn!(id = %stands.id, ca = ca.directory(), outcome, error, failures = stands.failures, next = at, "no certificate");
        self.0.metrics.attempt(outcome);
        let budget = Budget::at(ca.directory());
        let write = self.0.orders.store.write("issuance failed", move |tx| -> Result<_, StoreError> {
            unproven.iter().try_for_each(|host| budget.failed(tx, host, now))?;
            issuance::put(tx, &stands)
        });
        write.await.map(|()| next)
    }

    async fn ask_once(&self, id: &CertificateId) -> Result<OffsetDateTime, StoreError> {
        let (store, asked) = (&self.0.orders.store, id.clone());
        let read = store.read("renewal", move |tx| -> Result<_, StoreError> {
            Ok((find_certificate(tx, asked.as_str())?, leaf(tx, &asked)?))
        });
        let now = self.now();
        let (Some(held), Some(leaf)) = read.await? else { return Ok(now + ASK_AGAIN) };
        let ca = self.0.cas.iter().find(|ca| ca.directory() == held.issuer);
        let window = match ca {
            Some(ca) => match self.0.orders.accounts.session(ca).await {
                Ok(session) => session.renewal(&leaf, now).await.ok(),
                Err(_) => None,
            },
            None => None,
        };
        let id = id.clone();
        let write = store.write("renewal asked", move |tx| -> Result<_, StoreError> {
            let mut stands = issuance::find(tx, &id)?;
            stands.ask_at =
                Some(window.map_or(now + ASK_AGAIN, |window| window.ask_at.max(now + STORE_PAUSE)));
            if let Some(window) = window {
                let at = within(window.start, window.end);
                // One moment in the window, chosen once.
                let chosen = stands.renew_at.filter(|at| (window.start..=window.end).contains(at));
                stands.renew_at = Some(chosen.unwrap_or(at));
            }
            let due = renew_at(&held, stands.renew_at);
            if stands.last_error.is_none() {
                stands.next_attempt = Some(due);
            }
            issuance::put(tx, &stands)?;
            Ok(stands.ask_at.map_or(due, |ask_at| ask_at.min(due)))
        });
        write.await
    }
}

/// How it stands after a failure, and the word for what happened.
fn after_failure(now: OffsetDateTime, before: Issuance, failed: Failed) -> (&'static str, Issuance) {
    let retry_after = match &failed {
        Failed::Order(OrderError::Refused(refused)) => refused.retry_after,
        Failed::Order(_) | Failed::Missing { .. } => None,
    };
    match failed {
        Failed::Missing { reason, records } => {
            let since = before.missing_since.unwrap_or(now);
            let next_attempt = Some(look_again_at(now, since));
            let missing_since = Some(since);
            let last_error = Some(reason);
            ("missing", Issuance { records, next_attempt, missing_since, last_error, ..before })
        }
        Failed::Order(OrderError::Budget(used_up)) => {
            let last_error = Some(used_up.to_string());
            ("held_back", Issuance { next_attempt: Some(used_up.until), last_error, ..cleared(before) })
        }
        Failed::Order(error) => {
            let failures = before.failures.saturating_add(1);
            let next_attempt = Some(retry_at(now, failures, retry_after));
            let last_error = Some(error.to_string());
            ("failed", Issuance { failures, next_attempt, last_error, ..cleared(before) })
        }
    }
}

/// Nothing is missing any more.
fn cleared(before: Issuance) -> Issuance {
    Issuance { records: Vec::new(), missing_since: None, ..before }
}

fn validity(issued: &Issued) -> Validity {
    Validity {
        id: issued.id.clone(),
        names: issued.names.clone(),
        issuer: issued.issuer.clone(),
        not_before: issued.not_before,
        not_after: issued.not_after,
    }
}

/// A moment in between, any (RFC 9773 §4.2).
fn within(start: OffsetDateTime, end: OffsetDateTime) -> OffsetDateTime {
    let mut random = [0; 4];
    if aws_lc_rs::rand::fill(&mut random).is_err() {
        return start;
    }
    let part = f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX);
    start + (end - start).max(time::Duration::ZERO) * part
}

#[cfg(test)]
mod tests;
