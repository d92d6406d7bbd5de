//! The rules on which host a route may get: reserved labels, hosts above and below those of other owners, and claims.

use std::net::IpAddr;
use std::sync::Arc;

use time::{Duration, OffsetDateTime};
use webgateway_proto::model::{DnsRecord, Host, KeyId, Route};

use super::caller::Caller;
use super::error::{DomainError, NestedHostError, UserError};
use super::host::HostPolicy;
use super::proof::{HostLookup, TrustingLookup, proof_record};
use crate::store::claims::{self, StoredClaim};
use crate::store::{StoreError, Tx, routes, tenure};

/// The policy on claims of hosts outside the base domain.
#[derive(Debug, Clone)]
pub(crate) struct ClaimPolicy {
    /// The source of proofs.
    pub lookup: Arc<dyn HostLookup>,
    /// True if a host outside the base domain must be proven.
    pub is_required: bool,
    /// The time after which an unproven claim is dropped.
    pub ttl: Duration,
    /// The maximum number of unproven claims of one owner.
    pub max_claims: u32,
    /// The gateway's public addresses, for the DNS records that an owner has to create.
    pub public_ip: Vec<IpAddr>,
}

/// A route that is to get a host.
#[derive(Debug, Clone, Copy)]
pub(super) struct HostRequest<'a> {
    /// The caller who asks for it.
    pub(super) caller: &'a Caller,
    /// The owner of the route.
    pub(super) owner: &'a KeyId,
    /// The host.
    pub(super) host: &'a Host,
    /// The parameter that named the host.
    pub(super) field: &'static str,
    /// True if a TXT record names the owner.
    pub(super) is_proven: bool,
}

/// The tenure of a route over its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tenure {
    /// The route holds the host.
    Held,
    /// The route claims the host until a proof is found.
    Claimed,
}

impl ClaimPolicy {
    /// Returns the policy of a gateway whose users trust each other.
    #[must_use]
    pub(crate) fn trusting() -> Self {
        Self {
            lookup: Arc::new(TrustingLookup),
            is_required: false,
            ttl: Duration::days(7),
            max_claims: u32::MAX,
            public_ip: Vec::new(),
        }
    }

    /// Returns the new claim of a route, whose first check is due at once.
    #[must_use]
    pub(super) fn new_claim(&self, route: &Route, base: &Host, now: OffsetDateTime) -> StoredClaim {
        StoredClaim {
            route: route.id,
            owner: route.owner.clone(),
            host: route.host.clone(),
            displaced: false,
            since: now,
            expires_at: now + self.ttl,
            check_at: now,
            checked_at: None,
            reason: "the DNS is being asked whether the host is yours".to_owned(),
            records: self.records(route, base),
        }
    }

    /// Returns the records that lead a host here and prove a claim to it, before the DNS has been asked. A host of two
    /// labels is probably the apex of a zone, which cannot have a CNAME record (RFC 1034 §3.6.2).
    fn records(&self, route: &Route, base: &Host) -> Vec<DnsRecord> {
        let host = route.host.as_str();
        let record =
            |kind: &str, value: String| DnsRecord { name: host.to_owned(), kind: kind.to_owned(), value };
        let is_apex = host.split('.').count() == 2;
        let mut records: Vec<DnsRecord> = match self.public_ip.as_slice() {
            addresses @ [_, ..] if is_apex => {
                let kind = |ip: &IpAddr| if ip.is_ipv4() { "A" } else { "AAAA" };
                addresses.iter().map(|ip| record(kind(ip), ip.to_string())).collect()
            }
            _ => vec![record("CNAME", base.to_string())],
        };
        records.push(proof_record(&route.host, &route.owner, base));
        records
    }
}

/// Decides whether a route may get a host, and how.
pub(super) fn admit(
    tx: &mut Tx<'_>,
    hosts: &HostPolicy,
    policy: &ClaimPolicy,
    request: HostRequest<'_>,
) -> Result<Tenure, DomainError> {
    let HostRequest { caller, owner, host, field, .. } = request;
    let holder = routes::find_by_host(tx, host)?;
    let own = tenure::find_own(tx, host, owner)?;
    let taken = |route: &Route| {
        let own = caller.can_see(&route.owner).then_some(route.id);
        Err(DomainError::HostTaken { host: host.clone(), own })
    };
    if let Some(own) = &own {
        return taken(own);
    }
    let is_admin = caller.as_user().is_none();
    let is_custom = !host.is_below(hosts.base());
    let must_prove = policy.is_required && is_custom && !is_admin;
    match &holder {
        Some(holder) if !must_prove => return taken(holder),
        Some(_) | None => {}
    }
    if !is_admin {
        if hosts.is_reserved(host) {
            return Err(DomainError::Reserved(field, host.clone()));
        }
        if let Some(neighbour) =
            foreign_neighbour(tx, host, hosts.base(), owner)?.filter(|_| !request.is_proven)
        {
            let proof = is_custom.then(|| proof_record(host, owner, hosts.base()));
            let nested = NestedHostError { host: host.clone(), owner: owner.clone(), neighbour, proof };
            return Err(DomainError::Nested(Box::new(nested)));
        }
    }
    if !must_prove {
        return Ok(Tenure::Held);
    }
    let have = claims::count(tx, owner)?;
    if have >= u64::from(policy.max_claims) {
        return Err(UserError::Claims { have, most: policy.max_claims }.into());
    }
    Ok(Tenure::Claimed)
}

/// Returns a host above or below `host` that another owner holds, unless the owner of the upper one allows `owner` to
/// have hosts below it. Hosts above the base domain `base` have nothing to do with those below it.
pub(super) fn foreign_neighbour(
    tx: &mut Tx<'_>,
    host: &Host,
    base: &Host,
    owner: &KeyId,
) -> Result<Option<Host>, StoreError> {
    // The nearest host above decides: whoever has it was allowed to, and may allow others.
    let is_foreign =
        |upper: &Route| upper.owner != *owner && !upper.destination.options.subdomain_owners.contains(owner);
    let nearest = tenure::above(tx, host, base)?.into_iter().next();
    if let Some(upper) = nearest.filter(is_foreign) {
        return Ok(Some(upper.host));
    }
    Ok(tenure::below(tx, host, base, owner)?.map(|lower| lower.host))
}
