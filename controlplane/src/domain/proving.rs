//! The checks of claims: the DNS is asked about a host, and the decision is made in one transaction.

use serde_json::json;
use time::{Duration, OffsetDateTime};
use tracing::info;
use webgateway_proto::audit::{GATEWAY, action};
use webgateway_proto::model::{Host, KeyId, Route, RouteId};

use super::claims::{Claim, Decision, Proof, decide};
use super::error::NestedHostError;
use super::ownership::foreign_neighbour;
use super::proof::{HostEvidence, HostTarget, proof_record, record_name};
use super::rules::Domain;
use crate::store::audit::{self, AuditEntry};
use crate::store::claims::{self, StoredClaim};
use crate::store::{StoreError, Tx, WriteTx, routes, tenure, users};

/// The bounds of the interval between two checks of a claim. It grows with the age of the claim.
const MIN_CHECK_INTERVAL: Duration = Duration::seconds(5);
const MAX_CHECK_INTERVAL: Duration = Duration::hours(1);
/// The time for which the result of a check is good enough for a caller who asks for another.
const MAX_CHECK_AGE: Duration = Duration::seconds(2);

/// The outcome of a check of one host.
struct HostCheck {
    host: Host,
    base: Host,
    evidence: HostEvidence,
    ttl: Duration,
    now: OffsetDateTime,
}

/// A change of a claim, as the audit log records it.
struct ClaimChange<'a> {
    method: &'static str,
    message: &'static str,
    route: &'a Route,
    before: Option<&'static str>,
    after: Option<&'static str>,
}

impl Domain {
    /// Returns the hosts whose claims are to be checked now, each with an owner who claims it, and the time of the next
    /// check.
    pub(crate) async fn due_claims(
        &self,
        limit: u32,
    ) -> Result<(Vec<(KeyId, Host)>, Option<OffsetDateTime>), StoreError> {
        let now = self.clock.now();
        self.store
            .read("due claims", move |tx| Ok((claims::due(tx, now, limit)?, claims::next_check(tx, now)?)))
            .await
    }

    /// Asks the DNS about a host and decides about the claims to it.
    pub(crate) async fn check_host(&self, host: &Host) -> Result<(), StoreError> {
        let evidence = self.claims.lookup.look_up(host).await;
        let (host, base) = (host.clone(), self.hosts.base().clone());
        let check = HostCheck { host, base, evidence, ttl: self.claims.ttl, now: self.clock.now() };
        self.store.write("claims", move |tx| check.settle(tx)).await
    }

    /// Returns true if a TXT record names the owner who was refused a host because of another one above or below it.
    pub(super) async fn is_proven(&self, nested: &NestedHostError) -> bool {
        self.claims.lookup.look_up(&nested.host).await.names(&nested.owner)
    }

    /// Checks a host as [`check_host`](Self::check_host) does, unless it has just been checked.
    pub(super) async fn check_host_again(&self, host: &Host) -> Result<(), StoreError> {
        let (claimed, now) = (host.clone(), self.clock.now());
        let read = self.store.read("claims", move |tx| -> Result<_, StoreError> {
            let mut checked = Vec::new();
            for (route, _) in tenure::of_host(tx, &claimed)? {
                checked.extend(claims::find(tx, route.id)?.and_then(|claim| claim.checked_at));
            }
            Ok(checked.into_iter().max())
        });
        match read.await? {
            Some(last) if now - last < MAX_CHECK_AGE => Ok(()),
            Some(_) | None => self.check_host(host).await,
        }
    }
}

impl HostCheck {
    fn settle(&self, tx: &mut WriteTx<'_>) -> Result<(), StoreError> {
        let routes = tenure::of_host(tx, &self.host)?;
        let mut candidates = Vec::with_capacity(routes.len());
        for (route, _) in &routes {
            candidates.push(self.candidate(tx, route)?);
        }
        let decision = decide(&candidates, &self.evidence, self.now);
        let find = |id: RouteId| routes.iter().map(|(route, _)| route).find(|route| route.id == id);
        if let Some(loser) = decision.displaced.and_then(find) {
            self.displace(tx, loser)?;
        }
        if let Some((winner, proof)) = decision.proven.and_then(|(id, proof)| Some((find(id)?, proof))) {
            self.prove(tx, winner, proof)?;
        }
        for expired in decision.expired.iter().copied().filter_map(find) {
            self.expire(tx, expired)?;
        }
        for (candidate, (route, _)) in candidates.iter().zip(&routes) {
            self.reschedule(tx, route, candidate.nested, &decision)?;
        }
        Ok(())
    }

    fn candidate(&self, tx: &mut Tx<'_>, route: &Route) -> Result<Claim, StoreError> {
        let claim = claims::find(tx, route.id)?;
        Ok(Claim {
            route: route.id,
            owner: route.owner.clone(),
            expires_at: claim.map(|claim| claim.expires_at),
            suspended: users::suspension(tx, &route.owner)?.is_some(),
            nested: foreign_neighbour(tx, &self.host, &self.base, &route.owner)?.is_some(),
        })
    }

    fn prove(&self, tx: &mut WriteTx<'_>, route: &Route, proof: Proof) -> Result<(), StoreError> {
        let version = tx.revise()?;
        tenure::set_held(tx, route.id, true, version, self.now)?;
        claims::delete(tx, route.id)?;
        let after = match proof {
            Proof::Txt => "proven by its TXT record",
            Proof::Dns => "proven by leading here",
        };
        let (method, message) = (action::CLAIMS_PROVE, "host proven");
        self.record(tx, &ClaimChange { method, message, route, before: Some("claimed"), after: Some(after) })
    }

    fn displace(&self, tx: &mut WriteTx<'_>, route: &Route) -> Result<(), StoreError> {
        let version = tx.revise()?;
        tenure::set_held(tx, route.id, false, version, self.now)?;
        let claim = StoredClaim {
            route: route.id,
            owner: route.owner.clone(),
            host: route.host.clone(),
            displaced: true,
            since: self.now,
            expires_at: self.now + self.ttl,
            check_at: self.now + MIN_CHECK_INTERVAL,
            checked_at: Some(self.now),
            reason: self.reason(true, true, false),
            records: vec![proof_record(&route.host, &route.owner, &self.base)],
        };
        claims::put(tx, &claim)?;
        let (method, message) = (action::CLAIMS_DISPLACE, "host lost to an owner who proved it");
        let (before, after) = (Some("held"), Some("displaced by the proof of another owner"));
        self.record(tx, &ClaimChange { method, message, route, before, after })
    }

    fn expire(&self, tx: &mut WriteTx<'_>, route: &Route) -> Result<(), StoreError> {
        let version = tx.revise()?;
        routes::delete(tx, route.id, version, self.now)?;
        let (method, message) = (action::CLAIMS_EXPIRE, "unproven host expired");
        self.record(tx, &ClaimChange { method, message, route, before: Some("claimed"), after: None })
    }

    /// Stores the result of the check with a claim that remains, and the time of the next check.
    fn reschedule(
        &self,
        tx: &mut WriteTx<'_>,
        route: &Route,
        nested: bool,
        decision: &Decision,
    ) -> Result<(), StoreError> {
        if decision.displaced == Some(route.id) {
            return Ok(());
        }
        let Some(claim) = claims::find(tx, route.id)? else { return Ok(()) };
        let has_holder = routes::find_by_host(tx, &self.host)?.is_some();
        let age: Duration = self.now - claim.since;
        let pause = Duration::clamp(age / 4, MIN_CHECK_INTERVAL, MAX_CHECK_INTERVAL);
        // A claim that outlives its time, because the DNS cannot be asked, is checked as rarely as an old one.
        let latest = if claim.expires_at > self.now { claim.expires_at } else { self.now + pause };
        let mut records = match &self.evidence.target {
            Ok(HostTarget::Elsewhere { records, .. }) => records.clone(),
            Ok(HostTarget::Here) => Vec::new(),
            Err(_) => claim.records.iter().filter(|record| record.kind != "TXT").cloned().collect(),
        };
        records.push(proof_record(&self.host, &claim.owner, &self.base));
        claims::put(
            tx,
            &StoredClaim {
                check_at: (self.now + pause).min(latest.max(self.now + MIN_CHECK_INTERVAL)),
                checked_at: Some(self.now),
                reason: self.reason(claim.displaced, has_holder, nested),
                records,
                ..claim
            },
        )
    }

    /// Describes why a claim is not proven.
    fn reason(&self, displaced: bool, has_holder: bool, nested: bool) -> String {
        let name = record_name(&self.host);
        match (&self.evidence.owners, &self.evidence.target) {
            (Err(error), _) => format!("the DNS did not say whether the host is yours: {error}"),
            _ if displaced && has_holder => "another owner has proven that the host is theirs".to_owned(),
            _ if has_holder => {
                "another owner has the host: only the TXT record proves that it is yours".to_owned()
            }
            (Ok(owners), _) if !owners.is_empty() => {
                format!("the TXT records of {name} name other keys than yours")
            }
            _ if nested => {
                "another owner has a host above or below it: only the TXT record proves that it is yours"
                    .to_owned()
            }
            (_, Err(error)) => format!("the DNS did not say whether the host is yours: {error}"),
            (_, Ok(HostTarget::Elsewhere { reason, .. })) => {
                format!("nothing proves that the host is yours: {reason}")
            }
            (_, Ok(HostTarget::Here)) => {
                "several owners ask for the host: only the TXT record proves that it is yours".to_owned()
            }
        }
    }

    fn record(&self, tx: &mut WriteTx<'_>, change: &ClaimChange<'_>) -> Result<(), StoreError> {
        let ClaimChange { method, message, route, before, after } = *change;
        let text = |state: Option<&str>| {
            state.map(|state| json!({ "owner": route.owner, "host": route.host, "claim": state }).to_string())
        };
        let entry = AuditEntry {
            at: self.now,
            caller: GATEWAY.to_owned(),
            client: "-".to_owned(),
            method,
            target: format!("route/{}", route.id),
            before: text(before),
            after: text(after),
            request: None,
        };
        audit::insert(tx, &entry)?;
        let (id, host, owner) = (route.id, route.host.clone(), route.owner.clone());
        let state = after.unwrap_or("dropped");
        tx.on_commit(move || info!(route = %id, %host, %owner, state, "{message}"));
        Ok(())
    }
}
