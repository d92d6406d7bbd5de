//! The certificates that a caller can see: those that the caller's own terminated routes need, or all for the admin.

use std::ops::ControlFlow;

use time::OffsetDateTime;
use webgateway_proto::audit::action;
use webgateway_proto::model::{CertName, Host, Mode};

use super::caller::Caller;
use super::error::DomainError;
use super::page::{Page, PageRange, PageRequest};
use super::rules::Domain;
use crate::store::audit;
use crate::store::certificates::{self, CertificateInfo};
use crate::store::issuance::{self, IssuanceState};
use crate::store::{StoreError, Tx, routes};

/// The status of a certificate that is needed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CertificateStatus {
    /// The id, which is the certificate's first host.
    pub id: Host,
    /// The names that it covers, or will cover.
    pub names: Vec<CertName>,
    /// The state.
    pub state: CertificateState,
    /// The stored certificate, if one was issued.
    pub held: Option<CertificateInfo>,
    /// The progress of its issuance.
    pub issuance: IssuanceState,
}

/// The state of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CertificateState {
    /// The certificate is served.
    Valid,
    /// The certificate is being issued for the first time.
    Waiting,
    /// The last attempt failed. An earlier certificate, if there is one, is still served.
    Failing,
    /// The certificate has expired.
    Expired,
}

impl Domain {
    /// Lists the certificates that the caller can see, by id.
    pub(crate) async fn list_certificates(
        &self,
        caller: &Caller,
        page: &PageRequest,
    ) -> Result<Page<CertificateStatus>, DomainError> {
        let page = PageRange::parse(page)?;
        let (caller, base, now) = (caller.clone(), self.hosts.base().clone(), self.clock.now());
        self.store
            .read("certificates.list", move |tx| {
                let Page { entries, next } = page_of_ids(tx, &caller, &base, &page)?;
                let statuses = entries.into_iter().map(|id| certificate_status(tx, id, &base, now));
                Ok(Page { entries: statuses.collect::<Result<_, _>>()?, next })
            })
            .await
    }

    /// Returns one certificate.
    pub(crate) async fn certificate(
        &self,
        caller: &Caller,
        id: &str,
    ) -> Result<CertificateStatus, DomainError> {
        let (caller, id, base, now) =
            (caller.clone(), id.to_owned(), self.hosts.base().clone(), self.clock.now());
        self.store
            .read("certificates.get", move |tx| {
                let id = resolve_id(tx, &caller, &id, &base)?;
                Ok(certificate_status(tx, id, &base, now)?)
            })
            .await
    }

    /// Requests the renewal of one certificate before it is due.
    pub(crate) async fn renew_certificate(
        &self,
        caller: &Caller,
        id: &str,
    ) -> Result<CertificateStatus, DomainError> {
        let (caller, id, base, now) =
            (caller.clone(), id.to_owned(), self.hosts.base().clone(), self.clock.now());
        self.store
            .write(action::CERTIFICATES_RENEW, move |tx| {
                caller.require_active(tx)?;
                let id = resolve_id(tx, &caller, &id, &base)?;
                issuance::request_renewal(tx, &(&id).into())?;
                let entry = caller.audit_entry(now, action::CERTIFICATES_RENEW, format!("certificate/{id}"));
                audit::insert(tx, &entry)?;
                Ok(certificate_status(tx, id, &base, now)?)
            })
            .await
    }

    /// Returns the root certificate of the internal CA in PEM. Returns an error unless the base domain's certificate
    /// was issued by that CA.
    pub(crate) async fn root(&self) -> Result<String, DomainError> {
        let base = self.hosts.base().clone();
        self.store
            .read("certificates.root", move |tx| {
                let held = certificates::find(tx, base.as_str())?;
                let root = certificates::root(tx)?;
                root.filter(|_| held.is_some_and(|held| held.issuer == INTERNAL)).ok_or(DomainError::NoRoot)
            })
            .await
    }
}

/// The maximum number of routes that are scanned for one page.
const MAX_SCANNED: u32 = 20_000;
/// The issuer name of the internal CA in the store.
const INTERNAL: &str = "internal";

/// Returns the issuance state of the certificate that a route with this host needs.
pub(super) fn awaited_issuance(
    tx: &mut Tx<'_>,
    host: &Host,
    base: &Host,
) -> Result<IssuanceState, StoreError> {
    let id = if host.is_child_of(base) { base } else { host };
    issuance::find(tx, &id.into())
}

/// Returns a page of certificate ids. Most routes need no certificate of their own, so a page ends early after
/// [`MAX_SCANNED`] routes.
fn page_of_ids(
    tx: &mut Tx<'_>,
    caller: &Caller,
    base: &Host,
    page: &PageRange,
) -> Result<Page<Host>, StoreError> {
    let (mut ids, after) = (Vec::new(), page.after.as_deref());
    let seen = routes::scan(tx, caller.as_user(), after, MAX_SCANNED, |host, mode| {
        ids.extend(needs_own_certificate(&host, mode, base).then_some(host));
        if ids.len() > page.limit as usize { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    // The base domain's certificate belongs to no route.
    let is_here =
        after.is_none_or(|after| after < base.as_str()) && seen.as_ref().is_none_or(|seen| base < seen);
    if caller.as_user().is_none() && is_here {
        ids.push(base.clone());
        ids.sort_unstable();
    }
    let Page { entries, next } = page.paginate(ids, Host::to_string);
    Ok(Page { entries, next: next.or_else(|| seen.map(|seen| PageRange::cursor(seen.as_str()))) })
}

/// Returns true if a route needs a certificate of its own. Passthrough routes need none, and children of the base
/// domain use its wildcard certificate.
fn needs_own_certificate(host: &Host, mode: Mode, base: &Host) -> bool {
    mode == Mode::Terminate && !host.is_child_of(base)
}

/// Parses a certificate id. Returns an error if the caller can see no certificate with that id.
fn resolve_id(tx: &mut Tx<'_>, caller: &Caller, id: &str, base: &Host) -> Result<Host, DomainError> {
    let unknown = || DomainError::NoCertificate(id.chars().take(300).collect());
    let host = Host::parse(id).map_err(|_| unknown())?;
    if host == *base && caller.as_user().is_none() {
        return Ok(host);
    }
    let route = routes::find_by_host(tx, &host)?.filter(|route| caller.can_see(&route.owner));
    let own = route.filter(|route| needs_own_certificate(&route.host, route.destination.mode, base));
    own.map(|route| route.host).ok_or_else(unknown)
}

fn certificate_status(
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
