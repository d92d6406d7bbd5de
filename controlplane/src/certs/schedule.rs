//! The schedule of certificates: a pure decision on issuance, renewal and removal, and the time of the next one.

use std::collections::{BTreeMap, BTreeSet};

use time::{Duration, OffsetDateTime};
use webgateway_proto::model::{CertName, CertificateId, Host, KeyId};

use crate::store::certificates::CertificateInfo;
use crate::store::issuance::IssuanceState;
use crate::store::routes::find_by_host;
use crate::store::{StoreError, Tx};

/// The lifetime below which a certificate is renewed with one half of it left. Others are renewed with one third left.
const SHORT_LIFETIME: Duration = Duration::days(10);
/// The delays after the first failures.
const BACKOFF: [Duration; 3] = [Duration::minutes(1), Duration::minutes(10), Duration::minutes(100)];
const MAX_BACKOFF: Duration = Duration::days(1);
/// The bounds of the interval between two checks for missing DNS records.
const MIN_RECHECK_INTERVAL: Duration = Duration::seconds(15);
const MAX_RECHECK_INTERVAL: Duration = Duration::hours(1);

/// A certificate that is needed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CertificateSpec {
    /// The certificate's id.
    pub id: CertificateId,
    /// The names that the certificate must cover.
    pub names: Vec<CertName>,
}

/// The current certificates and the state of their issuance, in any order.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Inventory<'a> {
    /// The certificates in use.
    pub certificates: &'a [CertificateInfo],
    /// The states of issuance.
    pub issuance: &'a [IssuanceState],
    /// The acceptable issuers. The first one issues new certificates.
    pub issuers: &'a [String],
    /// True if the issuers are CAs over ACME, which have rate limits and renewal information (RFC 9773).
    pub is_acme: bool,
}

/// The actions that are due, and the time of the next one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CertificatePlan {
    /// The certificates to issue or renew; those without a usable certificate come first.
    pub issue: Vec<CertificateSpec>,
    /// The certificates whose renewal window is to be requested from the CA.
    pub query: Vec<CertificateId>,
    /// The certificates that are no longer needed.
    pub drop: Vec<CertificateId>,
    /// The earliest time at which another certificate needs an action.
    pub next_due: Option<OffsetDateTime>,
}

/// The action that is due for one certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CertificateAction {
    /// Issues the first certificate, or one that replaces another issuer's or one for other names.
    Issue,
    /// Issues a successor.
    Renew,
    /// Requests the renewal window from the CA.
    QueryRenewalInfo,
    /// Does nothing until this time.
    Wait(OffsetDateTime),
}

impl CertificateSpec {
    /// Returns the certificate of the base domain and its wildcard.
    #[must_use]
    pub(crate) fn base(base: &Host) -> Self {
        let names = vec![CertName::Exact(base.clone()), CertName::Wildcard(base.clone())];
        Self { id: CertificateId::from(base), names }
    }

    /// Returns the certificate of one host; `None` if the base domain's certificate covers the host.
    #[must_use]
    pub(crate) fn host(host: &Host, base: &Host) -> Option<Self> {
        let own = host != base && !host.is_child_of(base);
        own.then(|| Self { id: CertificateId::from(host), names: vec![CertName::Exact(host.clone())] })
    }
}

impl CertificateSpec {
    /// Returns the owner of the certificate's host; `None` for the base domain.
    pub(crate) fn owner(&self, tx: &mut Tx<'_>) -> Result<Option<KeyId>, StoreError> {
        let Some(CertName::Exact(host)) = self.names.first() else { return Ok(None) };
        Ok(find_by_host(tx, host)?.map(|route| route.owner))
    }
}

/// Plans the actions for all certificates; `hosts` are the hosts of all terminated routes.
#[must_use]
pub(crate) fn plan(
    now: OffsetDateTime,
    base: &Host,
    hosts: impl IntoIterator<Item = Host>,
    inventory: Inventory<'_>,
) -> CertificatePlan {
    let own = hosts.into_iter().filter_map(|host| CertificateSpec::host(&host, base));
    let specs: BTreeSet<CertificateSpec> = own.chain([CertificateSpec::base(base)]).collect();
    let certificates: BTreeMap<&CertificateId, &CertificateInfo> =
        inventory.certificates.iter().map(|one| (&one.id, one)).collect();
    let states: BTreeMap<&CertificateId, &IssuanceState> =
        inventory.issuance.iter().map(|state| (&state.id, state)).collect();
    let mut plan = CertificatePlan::default();
    let (mut missing, mut due) = (Vec::new(), Vec::new());
    for spec in &specs {
        let state = states.get(&spec.id).copied();
        match decide(now, spec, certificates.get(&spec.id).copied(), state, inventory) {
            CertificateAction::Issue => missing.push(spec.clone()),
            CertificateAction::Renew => due.push(spec.clone()),
            CertificateAction::QueryRenewalInfo => plan.query.push(spec.id.clone()),
            CertificateAction::Wait(until) => {
                plan.next_due = Some(plan.next_due.map_or(until, |due| due.min(until)))
            }
        }
    }
    let ids: BTreeSet<&CertificateId> = specs.iter().map(|spec| &spec.id).collect();
    let all: BTreeSet<&CertificateId> = certificates.keys().chain(states.keys()).copied().collect();
    let is_droppable = |id: &&&CertificateId| !is_retained(now, certificates.get(**id).copied(), inventory);
    plan.drop = all.difference(&ids).filter(is_droppable).map(|&id| id.clone()).collect();
    plan.issue = [missing, due].concat();
    plan
}

/// Returns true if an unneeded certificate is kept. One that cost an order at a CA is kept until its renewal is due,
/// because its route may come back. It is not renewed.
fn is_retained(now: OffsetDateTime, current: Option<&CertificateInfo>, inventory: Inventory<'_>) -> bool {
    inventory.is_acme
        && current.is_some_and(|current| {
            inventory.issuers.contains(&current.issuer) && renew_at(current, None) > now
        })
}

/// Decides on one certificate.
#[must_use]
pub(crate) fn decide(
    now: OffsetDateTime,
    spec: &CertificateSpec,
    current: Option<&CertificateInfo>,
    state: Option<&IssuanceState>,
    inventory: Inventory<'_>,
) -> CertificateAction {
    let is_usable = |current: &&CertificateInfo| {
        current.names == spec.names && inventory.issuers.contains(&current.issuer)
    };
    let current = current.filter(is_usable);
    let action = if current.is_some() { CertificateAction::Renew } else { CertificateAction::Issue };
    if state.is_some_and(|state| state.renew_requested) {
        return action;
    }
    let due = current.map_or(now, |current| renew_at(current, state.and_then(|state| state.renew_at)));
    // After a success, `next_attempt` only repeats the due time.
    let held_back = state.filter(|state| state.last_error.is_some()).and_then(|state| state.next_attempt);
    let at = held_back.map_or(due, |held_back| held_back.max(due));
    if at <= now {
        return action;
    }
    match state.and_then(|state| state.ask_at) {
        _ if !inventory.is_acme || current.is_none() => CertificateAction::Wait(at),
        Some(ask_at) if ask_at > now => CertificateAction::Wait(at.min(ask_at)),
        Some(_) | None => CertificateAction::QueryRenewalInfo,
    }
}

/// Returns the time at which a certificate is to be renewed: the time that its CA asked for, but not within the last
/// sixth of its lifetime; otherwise with one third of its lifetime left, or one half if that lifetime is under 10 days.
#[must_use]
pub(crate) fn renew_at(current: &CertificateInfo, requested: Option<OffsetDateTime>) -> OffsetDateTime {
    let life = current.not_after - current.not_before;
    let left = if life < SHORT_LIFETIME { life / 2 } else { life / 3 };
    requested.map_or(current.not_after - left, |requested| requested.min(current.not_after - life / 6))
}

/// Returns the time of the next attempt after this number of failures, not before the CA's `Retry-After`.
#[must_use]
pub(crate) fn retry_at(
    now: OffsetDateTime,
    failures: u32,
    retry_after: Option<OffsetDateTime>,
) -> OffsetDateTime {
    let index = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
    let ours = now + BACKOFF.get(index).copied().unwrap_or(MAX_BACKOFF);
    // A CA cannot delay the next attempt by more than a week.
    let theirs = retry_after.map_or(ours, |theirs| theirs.min(now + MAX_BACKOFF * 7));
    ours.max(theirs)
}

/// Returns the time of the next check for missing DNS records. The interval grows with the time they have been missing.
#[must_use]
pub(crate) fn recheck_at(now: OffsetDateTime, missing_since: OffsetDateTime) -> OffsetDateTime {
    let waited: Duration = (now - missing_since) / 4;
    now + waited.clamp(MIN_RECHECK_INTERVAL, MAX_RECHECK_INTERVAL)
}

/// Returns the index of the CA for the next attempt. Each failure moves on to the next CA.
#[must_use]
pub(crate) fn ca_index(failures: u32, cas: usize) -> usize {
    let failures = usize::try_from(failures).unwrap_or(usize::MAX);
    failures % cas.max(1)
}

#[cfg(test)]
mod tests;
