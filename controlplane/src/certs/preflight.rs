//! Whether a CA would find us behind a host: asked of the DNS before any order, so that none is wasted.

use std::collections::BTreeSet;
use std::net::IpAddr;

use webgateway_proto::model::{DnsRecord, Host};

use super::caa;
use super::solver::ChallengeKind;
use crate::dns::resolver::{CaaRecord, ResolveError, Resolver};
use crate::dns::zone::Zone;

/// What the DNS says of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Preflight {
    /// These ways can work, the best first.
    Ready(Vec<ChallengeKind>),
    /// None can yet.
    Missing {
        /// What was found instead, for the owner.
        reason: String,
        /// What to create; none if the DNS could not be asked.
        records: Vec<DnsRecord>,
    },
}

/// Asks the DNS about hosts. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Inspector {
    resolver: Resolver,
    zone: Zone,
    base: Host,
    public_ip: BTreeSet<IpAddr>,
    /// False if the operator knows better than the DNS as it is seen from here.
    with_enforcement: bool,
}

/// The answers about one host. One that did not come matters only where the decision needs it.
#[derive(Debug, Clone)]
struct HostRecords {
    /// Tells whether its `_acme-challenge` is an alias of its place in our zone.
    delegated: Result<bool, ResolveError>,
    /// The addresses it leads to.
    addresses: Result<BTreeSet<IpAddr>, ResolveError>,
    /// The addresses of the base domain.
    base: Result<BTreeSet<IpAddr>, ResolveError>,
    /// The nearest name with CAA records, and these. A CA that cannot look them up either says so itself.
    caa: Option<(String, Vec<CaaRecord>)>,
}

impl Inspector {
    /// Asks `resolver`; a host is ours if it leads to `public_ip`, or to where the base domain leads.
    #[must_use]
    pub(crate) fn new(resolver: Resolver, zone: Zone, base: Host, public_ip: &[IpAddr]) -> Self {
        Self { resolver, zone, base, public_ip: public_ip.iter().copied().collect(), with_enforcement: true }
    }

    /// Makes it say, for `false`, that every way can work, whatever the DNS says.
    #[must_use]
    pub(crate) fn with_enforcement(self, with_enforcement: bool) -> Self {
        Self { with_enforcement, ..self }
    }

    /// Looks a host up. `ca` are the domains by which the CA goes in CAA records (`caaIdentities` of its directory);
    /// with none, CAA is not looked at. The base domain, with its wildcard, is proven in our own zone: only CAA can
    /// stand against it. Never fails: an answer that did not come is a reason if nothing can be decided without it.
    pub(crate) async fn preflight(&self, host: &Host, ca: &[String]) -> Preflight {
        let is_base = *host == self.base;
        if !self.with_enforcement {
            return Preflight::Ready(self.all_challenges(host, is_base).await);
        }
        if is_base {
            let caa = self.relevant_caa(host, ca).await.unwrap_or_default();
            return filter_by_caa(vec![ChallengeKind::Dns01], true, ca, caa.as_ref());
        }
        let found = self.look_up(host, ca).await;
        let ours = found.base.iter().flatten().chain(&self.public_ip).copied().collect();
        let usable_challenges = found.usable_challenges(&ours);
        if usable_challenges.is_empty() {
            self.missing(host, &found, &ours).await
        } else {
            filter_by_caa(usable_challenges, false, ca, found.caa.as_ref())
        }
    }

    /// Returns every way, the best first: after a failure, the next one is tried.
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

    /// Climbs to the nearest name that has CAA records (RFC 8659 §3).
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

    /// Says why no way can work: what was found instead, or what could not be looked up.
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
        let target = self.zone.target(host);
        Preflight::Missing {
            reason: format!(
                "{reason}; if it is to lead elsewhere, make _acme-challenge.{host} a CNAME of {target}"
            ),
            records: self.required_records(host, ours).await,
        }
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
        let strange = list(addresses.difference(ours));
        format!("{host} leads to {strange}, which is not this gateway ({})", list(ours))
    }

    /// Returns the records to create. There can be no CNAME at an apex; addresses are right wherever that cannot be looked
    /// up.
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
    /// Returns the ways that can work by what is known, the best first; `ours` is where the gateway is.
    fn usable_challenges(&self, ours: &BTreeSet<IpAddr>) -> Vec<ChallengeKind> {
        let mut usable_challenges = Vec::new();
        usable_challenges.extend(matches!(self.delegated, Ok(true)).then_some(ChallengeKind::Dns01));
        let leads_here = |addresses: &BTreeSet<IpAddr>| !addresses.is_empty() && addresses.is_subset(ours);
        if self.addresses.as_ref().is_ok_and(leads_here) {
            usable_challenges.extend([ChallengeKind::TlsAlpn01, ChallengeKind::Http01]);
        }
        usable_challenges
    }
}

/// Keeps the ways that CAA allows.
fn filter_by_caa(
    mut usable_challenges: Vec<ChallengeKind>,
    wildcard: bool,
    ca: &[String],
    relevant: Option<&(String, Vec<CaaRecord>)>,
) -> Preflight {
    let (Some((name, records)), [identity, ..]) = (relevant, ca) else {
        return Preflight::Ready(usable_challenges);
    };
    usable_challenges.retain(|kind| caa::allows(records, caa::CaaRequest { ca, wildcard, kind: *kind }));
    if !usable_challenges.is_empty() {
        return Preflight::Ready(usable_challenges);
    }
    let reason = format!("the CAA records of {name} do not let {} issue", ca.join(" or "));
    let mut required_records = vec![record(name, "CAA", &format!("0 issue \"{identity}\""))];
    if wildcard && records.iter().any(|record| record.tag == "issuewild") {
        required_records.push(record(name, "CAA", &format!("0 issuewild \"{identity}\"")));
    }
    Preflight::Missing { reason, records: required_records }
}

fn record(name: &str, kind: &str, value: &str) -> DnsRecord {
    DnsRecord { name: name.to_owned(), kind: kind.to_owned(), value: value.to_owned() }
}

fn list<'a>(addresses: impl IntoIterator<Item = &'a IpAddr>) -> String {
    addresses.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
