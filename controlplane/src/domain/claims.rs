//! The decision about the claims to one host: a pure function of the claims, the evidence and the time.
//!
//! At most one route holds a host. A TXT record that names a claim's owner takes the host from a holder whom no TXT
//! record names. Without such a record, a host that leads here goes to the only one who claims it. If there are several,
//! they need the record, so that nobody gets a host by claiming it before its owner does.
//! A holder keeps the host for as long as no one else proves theirs, even if its own proof vanishes. A failed lookup
//! changes nothing.

use time::OffsetDateTime;
use webgateway_proto::model::{KeyId, RouteId};

use super::proof::{HostEvidence, HostTarget};

/// A route with the host that is decided about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    /// The route.
    pub(super) route: RouteId,
    /// The route's owner.
    pub(super) owner: KeyId,
    /// The time from which the claim may be dropped; `None` if the route holds the host.
    pub(super) expires_at: Option<OffsetDateTime>,
    /// True if the owner is suspended.
    pub(super) suspended: bool,
    /// True if another owner holds a host above or below this one, so that only a TXT record proves the claim.
    pub(super) nested: bool,
}

/// A proof of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// A TXT record names the owner.
    Txt,
    /// The host leads here, and nobody else holds or claims it.
    Dns,
}

/// The changes to make. By default, there are none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Decision {
    /// The route that holds the host from now on, and its proof.
    pub(super) proven: Option<(RouteId, Proof)>,
    /// The route that held the host until now.
    pub(super) displaced: Option<RouteId>,
    /// The routes whose claims have expired without a proof.
    pub(super) expired: Vec<RouteId>,
}

impl Claim {
    fn is_held(&self) -> bool {
        self.expires_at.is_none()
    }

    fn can_win(&self) -> bool {
        !self.is_held() && !self.suspended
    }
}

/// Decides about the claims to one host, given oldest first.
#[must_use]
pub(super) fn decide(claims: &[Claim], evidence: &HostEvidence, now: OffsetDateTime) -> Decision {
    let Ok(owners) = &evidence.owners else { return Decision::default() };
    let holder = claims.iter().find(|claim| claim.is_held());
    let by_txt = || claims.iter().find(|claim| claim.can_win() && owners.contains(&claim.owner));
    let by_dns = || {
        let mut able = claims.iter().filter(|claim| claim.can_win() && !claim.nested);
        able.next().filter(|_| able.next().is_none())
    };
    let mut decision = Decision::default();
    match holder {
        Some(holder) if owners.contains(&holder.owner) => {}
        Some(holder) => {
            decision.proven = by_txt().map(|winner| (winner.route, Proof::Txt));
            decision.displaced = decision.proven.map(|_| holder.route);
        }
        None if owners.is_empty() && evidence.target == Ok(HostTarget::Here) => {
            decision.proven = by_dns().map(|winner| (winner.route, Proof::Dns));
        }
        None => decision.proven = by_txt().map(|winner| (winner.route, Proof::Txt)),
    }
    if evidence.target.is_ok() {
        let has_won = |claim: &Claim| decision.proven.is_some_and(|(route, _)| route == claim.route);
        let is_over = |claim: &&Claim| claim.expires_at.is_some_and(|at| at <= now) && !has_won(claim);
        decision.expired = claims.iter().filter(is_over).map(|claim| claim.route).collect();
    }
    decision
}

#[cfg(test)]
mod tests;
