//! Which certificates are to be issued, renewed or dropped now, and when to look again.

use std::collections::{BTreeMap, BTreeSet};

use time::{Duration, OffsetDateTime};
use webgateway_proto::model::{CertName, CertificateId, Host};

use crate::store::certificates::CertificateInfo;
use crate::store::issuance::IssuanceState;

/// A certificate with less life than this is renewed at one half of it, others at one third.
const SHORT_LIFETIME: Duration = Duration::days(10);
/// The pauses after the first failures; later ones are a day long.
const BACKOFF: [Duration; 3] = [Duration::minutes(1), Duration::minutes(10), Duration::minutes(100)];
const MAX_BACKOFF: Duration = Duration::days(1);
/// The pauses between looks at DNS records that are missing.
const MIN_RECHECK_INTERVAL: Duration = Duration::seconds(15);
const MAX_RECHECK_INTERVAL: Duration = Duration::hours(1);

/// A certificate that is needed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CertificateSpec {
    /// What it is called.
    pub id: CertificateId,
    /// What it must be good for.
    pub names: Vec<CertName>,
}

/// What is inventory of the certificates, each sorted by its id or not.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Inventory<'a> {
    /// Those there are.
    pub certificates: &'a [CertificateInfo],
    /// How issuance state.
    pub issuance: &'a [IssuanceState],
    /// Who may have issued them; the first issues now.
    pub issuers: &'a [String],
    /// Whether they are CAs over ACME, with limits, and opinions on when to renew (RFC 9773).
    pub is_acme: bool,
}

/// What is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CertificatePlan {
    /// To be issued, or issued anew; those without any first.
    pub issue: Vec<CertificateSpec>,
    /// Their CA is to be asked when it wants them renewed.
    pub query: Vec<CertificateId>,
    /// No longer needed.
    pub drop: Vec<CertificateId>,
    /// When the next of those that stay is due.
    pub next_due: Option<OffsetDateTime>,
}

/// What is to be done with one certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CertificateAction {
    /// To issue the first, or one for other names or of another issuer.
    Issue,
    /// To issue it anew.
    Renew,
    /// To ask its CA when it is to be renewed.
    QueryRenewalInfo,
    /// Nothing until then.
    Wait(OffsetDateTime),
}

impl CertificateSpec {
    /// The certificate of the base domain and everything one label below it.
    #[must_use]
    pub(crate) fn base(base: &Host) -> Self {
        let names = vec![CertName::Exact(base.clone()), CertName::Wildcard(base.clone())];
        Self { id: CertificateId::from(base), names }
    }

    /// The certificate of one host of its own; `None` if the base domain's covers it.
    #[must_use]
    pub(crate) fn host(host: &Host, base: &Host) -> Option<Self> {
        let own = host != base && !host.is_child_of(base);
        own.then(|| Self { id: CertificateId::from(host), names: vec![CertName::Exact(host.clone())] })
    }
}

/// Decides over all certificates: `hosts` are those of all terminated routes.
#[must_use]
pub(crate) fn plan(
    now: OffsetDateTime,
    base: &Host,
    hosts: impl IntoIterator<Item = Host>,
    inventory: Inventory<'_>,
) -> CertificatePlan {
    let own = hosts.into_iter().filter_map(|host| CertificateSpec::host(&host, base));
    let specs: BTreeSet<CertificateSpec> = own.chain([CertificateSpec::base(base)]).collect();
    let held: BTreeMap<&CertificateId, &CertificateInfo> =
        inventory.certificates.iter().map(|held| (&held.id, held)).collect();
    let issuance: BTreeMap<&CertificateId, &IssuanceState> =
        inventory.issuance.iter().map(|i| (&i.id, i)).collect();
    let mut plan = CertificatePlan::default();
    let (mut missing, mut due) = (Vec::new(), Vec::new());
    for spec in &specs {
        let state = issuance.get(&spec.id).copied();
        match decide(now, spec, held.get(&spec.id).copied(), state, inventory) {
            CertificateAction::Issue => missing.push(spec.clone()),
            CertificateAction::Renew => due.push(spec.clone()),
            CertificateAction::QueryRenewalInfo => plan.query.push(spec.id.clone()),
            CertificateAction::Wait(until) => {
                plan.next_due = Some(plan.next_due.map_or(until, |due| due.min(until)))
            }
        }
    }
    let ids: BTreeSet<&CertificateId> = specs.iter().map(|spec| &spec.id).collect();
    let all: BTreeSet<&CertificateId> = held.keys().chain(issuance.keys()).copied().collect();
    let is_over = |id: &&&CertificateId| !is_retained(now, held.get(**id).copied(), inventory);
    plan.drop = all.difference(&ids).filter(is_over).map(|&id| id.clone()).collect();
    plan.issue = [missing, due].concat();
    plan
}

/// Whether a certificate that nobody needs stays: one that cost an order is not thrown away while it is good, because
/// its route may come back; it is not renewed.
fn is_retained(now: OffsetDateTime, held: Option<&CertificateInfo>, inventory: Inventory<'_>) -> bool {
    inventory.is_acme
        && held.is_some_and(|held| inventory.issuers.contains(&held.issuer) && renew_at(held, None) > now)
}

/// Decides over one certificate.
#[must_use]
pub(crate) fn decide(
    now: OffsetDateTime,
    spec: &CertificateSpec,
    held: Option<&CertificateInfo>,
    state: Option<&IssuanceState>,
    inventory: Inventory<'_>,
) -> CertificateAction {
    let is_good =
        |held: &&CertificateInfo| held.names == spec.names && inventory.issuers.contains(&held.issuer);
    let held = held.filter(is_good);
    let act = if held.is_some() { CertificateAction::Renew } else { CertificateAction::Issue };
    if state.is_some_and(|state| state.renew_requested) {
        return act;
    }
    let due = held.map_or(now, |held| renew_at(held, state.and_then(|state| state.renew_at)));
    // After a success `next_attempt` only repeats when it is due.
    let held_back = state.filter(|state| state.last_error.is_some()).and_then(|state| state.next_attempt);
    let at = held_back.map_or(due, |held_back| held_back.max(due));
    if at <= now {
        return act;
    }
    match state.and_then(|state| state.ask_at) {
        _ if !inventory.is_acme || held.is_none() => CertificateAction::Wait(at),
        Some(ask_at) if ask_at > now => CertificateAction::Wait(at.min(ask_at)),
        Some(_) | None => CertificateAction::QueryRenewalInfo,
    }
}

/// When a certificate is to be renewed: when its CA wants it, `asked`, but never in the last sixth of its life; else
/// at one third of its life before the end, or one half if that is under 10 days.
#[must_use]
pub(crate) fn renew_at(held: &CertificateInfo, asked: Option<OffsetDateTime>) -> OffsetDateTime {
    let life = held.not_after - held.not_before;
    let left = if life < SHORT_LIFETIME { life / 2 } else { life / 3 };
    asked.map_or(held.not_after - left, |asked| asked.min(held.not_after - life / 6))
}

/// When to try again after so many failures; never before the CA wants it.
#[must_use]
pub(crate) fn retry_at(
    now: OffsetDateTime,
    failures: u32,
    retry_after: Option<OffsetDateTime>,
) -> OffsetDateTime {
    let index = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
    let ours = now + BACKOFF.get(index).copied().unwrap_or(MAX_BACKOFF);
    // A CA that names a day far off is not taken at its word for ever.
    let theirs = retry_after.map_or(ours, |theirs| theirs.min(now + MAX_BACKOFF * 7));
    ours.max(theirs)
}

/// When to look again at DNS records that are missing since then: soon at first, later less often.
#[must_use]
pub(crate) fn recheck_at(now: OffsetDateTime, missing_since: OffsetDateTime) -> OffsetDateTime {
    let waited: Duration = (now - missing_since) / 4;
    now + waited.clamp(MIN_RECHECK_INTERVAL, MAX_RECHECK_INTERVAL)
}

/// Which of so many CAs is asked after so many failures: each in ca_index.
#[must_use]
pub(crate) fn ca_index(failures: u32, cas: usize) -> usize {
    let failures = usize::try_from(failures).unwrap_or(usize::MAX);
    failures % cas.max(1)
}

#[cfg(test)]
mod tests;
