//! A check of the DNS before an order is placed, so that no order is wasted on a host that the CA cannot validate.

mod evidence;

use std::collections::BTreeSet;
use std::net::IpAddr;

use webgateway_proto::model::{DnsRecord, Host};

use super::caa::{self, CaaRequest};
use super::solver::ChallengeKind;
use crate::dns::resolver::{CaaRecord, ResolveError, Resolver};
use crate::dns::zone::Zone;

/// The result of a preflight check of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Preflight {
    /// The challenges that can succeed, in order of preference.
    Ready(Vec<ChallengeKind>),
    /// No challenge can succeed yet.
    Missing {
        /// A description of the obstacle for the owner.
        reason: String,
        /// The DNS records that the owner has to create. Empty if the DNS did not answer.
        records: Vec<DnsRecord>,
    },
}

/// A preflight checker. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct PreflightChecker {
    resolver: Resolver,
    zone: Zone,
    base: Host,
    public_ip: BTreeSet<IpAddr>,
    /// False if the operator has turned the check off (`certificates.preflight`).
    enforced: bool,
}

/// The DNS answers about one host. A failed lookup matters only if the decision depends on it.
#[derive(Debug, Clone)]
struct HostRecords {
    /// True if `_acme-challenge.<host>` is an alias of the host's name in our zone.
    delegated: Result<bool, ResolveError>,
    /// The addresses of the host.
    addresses: Result<BTreeSet<IpAddr>, ResolveError>,
    /// The addresses of the base domain.
    base: Result<BTreeSet<IpAddr>, ResolveError>,
    /// The nearest name with CAA records, and those records. A CA that cannot look them up reports that itself.
    caa: Option<(String, Vec<CaaRecord>)>,
}

impl PreflightChecker {
    /// Creates a checker that asks `resolver`. A host leads to this gateway if its addresses are among `public_ip` or
    /// those of the base domain.
    #[must_use]
    pub(crate) fn new(resolver: Resolver, zone: Zone, base: Host, public_ip: &[IpAddr]) -> Self {
        Self { resolver, zone, base, public_ip: public_ip.iter().copied().collect(), enforced: true }
    }

    /// Turns the check on or off. When it is off, every challenge is considered usable, whatever the DNS says.
    #[must_use]
    pub(crate) fn with_enforcement(self, enforced: bool) -> Self {
        Self { enforced, ..self }
    }

    /// Checks one host. `ca` holds the domains that identify the CA in CAA records (`caaIdentities` of its directory);
    /// if it is empty, CAA records are ignored. The base domain and its wildcard are validated in our own zone, so that
    /// only CAA records can prevent that. Never fails: a failed lookup becomes the reason if the decision depends on
    /// it.
    pub(crate) async fn preflight(&self, host: &Host, ca: &[String]) -> Preflight {
        let is_base = *host == self.base;
        if !self.enforced {
            return Preflight::Ready(self.all_challenges(host, is_base).await);
        }
        if is_base {
            let caa = self.relevant_caa(host, ca).await.unwrap_or_default();
            return filter_by_caa(vec![ChallengeKind::Dns01], true, ca, caa.as_ref());
        }
        let found = self.look_up(host, ca).await;
        let ours = found.base.iter().flatten().chain(&self.public_ip).copied().collect();
        let challenges = found.usable_challenges(&ours);
        if challenges.is_empty() {
            self.missing(host, &found, &ours).await
        } else {
            filter_by_caa(challenges, false, ca, found.caa.as_ref())
        }
    }

    /// Returns all challenges in order of preference. After a failure the next one is tried.
    async fn all_challenges(&self, host: &Host, is_base: bool) -> Vec<ChallengeKind> {
        use ChallengeKind::{Dns01, Http01, TlsAlpn01};
        if is_base {
            return vec![Dns01];
        }
        match self.is_delegated(host).await {
            Ok(true) => vec![Dns01, TlsAlpn01, Http01],
            Ok(false) | Err(_) => vec![TlsAlpn01, Http01, Dns01],
        }
    }

    async fn look_up(&self, host: &Host, ca: &[String]) -> HostRecords {
        let (delegated, addresses, base, caa) = tokio::join!(
            self.is_delegated(host),
            self.resolver.addresses(host.as_str()),
            self.resolver.addresses(self.base.as_str()),
            self.relevant_caa(host, ca),
        );
        HostRecords { delegated, addresses, base, caa: caa.unwrap_or_default() }
    }

    async fn is_delegated(&self, host: &Host) -> Result<bool, ResolveError> {
        self.resolver.is_alias_of(&format!("_acme-challenge.{host}"), &self.zone.target(host)).await
    }

    /// Finds the relevant CAA records: those of the nearest name at or above `host` that has any (RFC 8659 §3).
    async fn relevant_caa(
        &self,
        host: &Host,
        ca: &[String],
    ) -> Result<Option<(String, Vec<CaaRecord>)>, ResolveError> {
        let mut name = Some(host.as_str()).filter(|_| !ca.is_empty());
        while let Some(at) = name {
            let records = self.resolver.caa(at).await?;
            if !records.is_empty() {
                return Ok(Some((at.to_owned(), records)));
            }
            name = at.split_once('.').map(|(_, parent)| parent);
        }
        Ok(None)
    }

    /// Describes why no challenge can succeed: the unexpected records, or the failed lookup.
    async fn missing(&self, host: &Host, found: &HostRecords, ours: &BTreeSet<IpAddr>) -> Preflight {
        let unknown =
            |error: &ResolveError| Preflight::Missing { reason: error.to_string(), records: Vec::new() };
        let addresses = match (&found.addresses, &found.base) {
            (Err(error), _) => return unknown(error),
            (Ok(addresses), Err(error)) if !addresses.is_empty() => return unknown(error),
            (Ok(addresses), _) => addresses,
        };
        let mut reason = self.describe_mismatch(host, addresses, ours);
        if let Err(error) = &found.delegated {
            reason = format!("{reason}; {error}");
        }
        Preflight::Missing {
            reason: format!("{reason}; {}", self.alternative(host)),
            records: self.required_records(host, ours).await,
        }
    }

    /// Describes the record that an owner can create whose host is to lead elsewhere.
    fn alternative(&self, host: &Host) -> String {
        let target = self.zone.target(host);
        format!("if it is to lead elsewhere, make _acme-challenge.{host} a CNAME of {target}")
    }

    fn describe_mismatch(
        &self,
        host: &Host,
        addresses: &BTreeSet<IpAddr>,
        ours: &BTreeSet<IpAddr>,
    ) -> String {
        if addresses.is_empty() {
            return format!("{host} has no address in the DNS: it must lead to {}", self.base);
        }
        if ours.is_empty() {
            return format!("{} itself has no address in the DNS, and `public_ip` is not set", self.base);
        }
        let foreign = list(addresses.difference(ours));
        format!("{host} leads to {foreign}, which is not this gateway ({})", list(ours))
    }

    /// Returns the address or CNAME records that the owner has to create. An apex cannot have a CNAME (RFC 1034
    /// §3.6.2); address records are the answer whenever that lookup fails, because they are valid for every name.
    async fn required_records(&self, host: &Host, ours: &BTreeSet<IpAddr>) -> Vec<DnsRecord> {
        let ours = if self.public_ip.is_empty() { ours } else { &self.public_ip };
        let apex = self.resolver.is_apex(host.as_str()).await;
        if !apex.unwrap_or(!ours.is_empty()) {
            return vec![record(host.as_str(), "CNAME", self.base.as_str())];
        }
        let kind = |ip: &IpAddr| if ip.is_ipv4() { "A" } else { "AAAA" };
        ours.iter().map(|ip| record(host.as_str(), kind(ip), &ip.to_string())).collect()
    }
}

impl HostRecords {
    /// Returns the challenges that can succeed, in order of preference; `ours` are the gateway's addresses.
    fn usable_challenges(&self, ours: &BTreeSet<IpAddr>) -> Vec<ChallengeKind> {
        let mut challenges = Vec::new();
        challenges.extend(matches!(self.delegated, Ok(true)).then_some(ChallengeKind::Dns01));
        if self.addresses.as_ref().is_ok_and(|addresses| lead_here(addresses, ours)) {
            challenges.extend([ChallengeKind::TlsAlpn01, ChallengeKind::Http01]);
        }
        challenges
    }
}

/// Returns true if all addresses of a host are the gateway's; `ours` are its addresses.
fn lead_here(addresses: &BTreeSet<IpAddr>, ours: &BTreeSet<IpAddr>) -> bool {
    !addresses.is_empty() && addresses.is_subset(ours)
}

/// Keeps the challenges that the CAA records permit.
fn filter_by_caa(
    mut challenges: Vec<ChallengeKind>,
    wildcard: bool,
    ca: &[String],
    relevant: Option<&(String, Vec<CaaRecord>)>,
) -> Preflight {
    let (Some((name, records)), [identity, ..]) = (relevant, ca) else {
        return Preflight::Ready(challenges);
    };
    challenges.retain(|kind| caa::allows(records, CaaRequest { ca, wildcard, kind: *kind }));
    if !challenges.is_empty() {
        return Preflight::Ready(challenges);
    }
    let reason = format!("the CAA records of {name} do not let {} issue", ca.join(" or "));
    let mut missing = vec![record(name, "CAA", &format!("0 issue \"{identity}\""))];
    if wildcard && records.iter().any(|record| record.tag == "issuewild") {
        missing.push(record(name, "CAA", &format!("0 issuewild \"{identity}\"")));
    }
    Preflight::Missing { reason, records: missing }
}

fn record(name: &str, kind: &str, value: &str) -> DnsRecord {
    DnsRecord { name: name.to_owned(), kind: kind.to_owned(), value: value.to_owned() }
}

fn list<'a>(addresses: impl IntoIterator<Item = &'a IpAddr>) -> String {
    addresses.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
