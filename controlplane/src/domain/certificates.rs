//! The certificates that exist for a caller: those that their own terminated routes need; for the admin all.

use std::ops::ControlFlow;

use time::OffsetDateTime;
use webgateway_proto::audit::action;
use webgateway_proto::model::{CertName, Host, Mode};

use super::caller::Caller;
use super::page::{Page, PageRequest, Paged};
use super::refusal::Refusal;
use super::rules::Domain;
use crate::store::audit;
use crate::store::certificates::{self, CertificateInfo};
use crate::store::issuance::{self, IssuanceState};
use crate::store::{StoreError, Tx, routes};

/// A certificate that is needed, and how it is with it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CertificateStatus {
    /// The id: its first host.
    pub id: Host,
    /// The names that it covers, or will cover.
    pub names: Vec<CertName>,
    /// How it is with it.
    pub state: CertificateState,
    /// The certificate that was issued, if one was.
    pub held: Option<CertificateInfo>,
    /// How issuing it goes.
    pub issuance: IssuanceState,
}

/// The state of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CertificateState {
    /// The certificate is served.
    Valid,
    /// The certificate is being issued for the first time.
    Waiting,
    /// The last attempt failed; what was issued before, if anything, is served.
    Failing,
    /// The certificate has ended.
    Expired,
}

impl Domain {
    /// The certificates that exist for the caller, by id.
    pub(crate) async fn list_certificates(
        &self,
        caller: &Caller,
        page: &PageRequest,
    ) -> Result<Paged<CertificateStatus>, Refusal> {
        let page = Page::parse(page)?;
        let (caller, base, now) = (caller.clone(), self.hosts.base().clone(), self.clock.now());
        self.store
            .read("certificates.list", move |tx| {
                let Paged { entries, next } = ids(tx, &caller, &base, &page)?;
                let certified = entries.into_iter().map(|id| certified(tx, id, &base, now));
                Ok(Paged { entries: certified.collect::<Result<_, _>>()?, next })
            })
            .await
    }

    /// One certificate.
    pub(crate) async fn certificate(&self, caller: &Caller, id: &str) -> Result<CertificateStatus, Refusal> {
        let (caller, id, base, now) =
            (caller.clone(), id.to_owned(), self.hosts.base().clone(), self.clock.now());
        self.store
            .read("certificates.get", move |tx| {
                let id = needed(tx, &caller, &id, &base)?;
                Ok(certified(tx, id, &base, now)?)
            })
            .await
    }

    /// Has one certificate renewed, whenever it would be due.
    pub(crate) async fn renew_certificate(
        &self,
        caller: &Caller,
        id: &str,
    ) -> Result<CertificateStatus, Refusal> {
        let (caller, id, base, now) =
            (caller.clone(), id.to_owned(), self.hosts.base().clone(), self.clock.now());
        self.store
            .write(action::CERTIFICATES_RENEW, move |tx| {
                caller.require_active(tx)?;
                let id = needed(tx, &caller, &id, &base)?;
                issuance::request_renewal(tx, &(&id).into())?;
                let entry = caller.entry(now, action::CERTIFICATES_RENEW, format!("certificate/{id}"));
                audit::insert(tx, &entry)?;
                Ok(certified(tx, id, &base, now)?)
            })
            .await
    }

    /// The root of the internal CA in PEM, while the base domain's certificate is from it.
    pub(crate) async fn root(&self) -> Result<String, Refusal> {
        let base = self.hosts.base().clone();
        self.store
            .read("certificates.root", move |tx| {
                let held = certificates::find(tx, base.as_str())?;
                let root = certificates::root(tx)?;
                root.filter(|_| held.is_some_and(|held| held.issuer == INTERNAL)).ok_or(Refusal::NoRoot)
            })
            .await
    }
}

/// The most routes that are looked at for one page.
const SEEN: u32 = 20_000;
/// The word for the internal CA in the store.
const INTERNAL: &str = "internal";

/// Returns the state of the certificate that a route waits for.
pub(super) fn awaited(tx: &mut Tx<'_>, host: &Host, base: &Host) -> Result<IssuanceState, StoreError> {
    let id = if host.is_child_of(base) { base } else { host };
    issuance::find(tx, &id.into())
}

/// A page of their ids. Most routes need none of their own: a page ends early after some that do not.
fn ids(tx: &mut Tx<'_>, caller: &Caller, base: &Host, page: &Page) -> Result<Paged<Host>, StoreError> {
    let (mut ids, after) = (Vec::new(), page.after.as_deref());
    let seen = routes::scan(tx, caller.own(), after, SEEN, |host, mode| {
        ids.extend(needs_own(&host, mode, base).then_some(host));
        if ids.len() > page.limit as usize { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    // The base domain's is not a route's.
    let is_here =
        after.is_none_or(|after| after < base.as_str()) && seen.as_ref().is_none_or(|seen| base < seen);
    if caller.own().is_none() && is_here {
        ids.push(base.clone());
        ids.sort_unstable();
    }
    let Paged { entries, next } = page.cut(ids, Host::as_str);
    Ok(Paged { entries, next: next.or_else(|| seen.map(|seen| Page::cursor(seen.as_str()))) })
}

/// Returns true if a route needs a certificate of its own: not if it is passed through, or under the base domain's.
fn needs_own(host: &Host, mode: Mode, base: &Host) -> bool {
    mode == Mode::Terminate && !host.is_child_of(base)
}

/// The id, if it is that of a certificate that exists for the caller.
fn needed(tx: &mut Tx<'_>, caller: &Caller, id: &str, base: &Host) -> Result<Host, Refusal> {
    let unknown = || Refusal::NoCertificate(id.chars().take(300).collect());
    let host = Host::parse(id).map_err(|_| unknown())?;
    if host == *base && caller.own().is_none() {
        return Ok(host);
    }
    let route = routes::find_by_host(tx, &host)?.filter(|route| caller.sees(&route.owner));
    let own = route.filter(|route| needs_own(&route.host, route.destination.mode, base));
    own.map(|route| route.host).ok_or_else(unknown)
}

fn certified(
    tx: &mut Tx<'_>,
    id: Host,
    base: &Host,
    now: OffsetDateTime,
) -> Result<CertificateStatus, StoreError> {
    let held = certificates::find(tx, id.as_str())?;
    let issuance = issuance::find(tx, &(&id).into())?;
    let mut names = vec![CertName::Exact(id.clone())];
    names.extend((id == *base).then(|| CertName::Wildcard(base.clone())));
    let state = match &held {
        Some(held) if held.not_after <= now => CertificateState::Expired,
        _ if issuance.failures > 0 => CertificateState::Failing,
        Some(_) => CertificateState::Valid,
        None => CertificateState::Waiting,
    };
    Ok(CertificateStatus { id, names, state, held, issuance })
}
