//! Whether a CA would find us behind a host: asked of the DNS before any order, so that none is wasted.

use std::collections::BTreeSet;
use std::net::IpAddr;

use webgateway_proto::model::{DnsRecord, Host};

use super::caa;
use super::solver::ChallengeKind;
use crate::dns::resolver::{Caa, ResolveError, Resolver};
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
}

/// What was found about one host.
#[derive(Debug, Clone)]
struct Found {
    /// Whether its `_acme-challenge` is an alias of its place in our zone.
    delegated: bool,
    /// Where it leads.
    addresses: BTreeSet<IpAddr>,
    /// Where it may lead: `public_ip` and what the base domain leads to.
    ours: BTreeSet<IpAddr>,
    /// Whether there can be no CNAME at it.
    apex: bool,
    /// The nearest name with CAA records, and these.
    caa: Option<(String, Vec<Caa>)>,
}

impl Inspector {
    /// Asks `resolver`; a host is ours if it leads to `public_ip`, or to where the base domain leads.
    #[must_use]
    pub(crate) fn new(resolver: Resolver, zone: Zone, base: Host, public_ip: &[IpAddr]) -> Self {
        Self { resolver, zone, base, public_ip: public_ip.iter().copied().collect() }
    }

    /// Looks a host up. `ca` are the domains by which the CA goes in CAA records (`caaIdentities` of its directory);
    /// with none, CAA is not looked at. The base domain, with its wildcard, is proven in our own zone: only CAA can
    /// stand against it. Never fails: what could not be looked up is a reason.
    pub(crate) async fn preflight(&self, host: &Host, ca: &[String]) -> Preflight {
        if *host == self.base {
            // A CA that cannot look CAA up either says so itself.
            let caa = self.relevant_caa(host, ca).await.unwrap_or_default();
            return by_caa(vec![ChallengeKind::Dns01], true, ca, caa.as_ref());
        }
        match self.look_up(host, ca).await {
            Ok(found) => self.judge(host, ca, &found),
            Err(error) => Preflight::Missing { reason: error.to_string(), records: Vec::new() },
        }
    }

    async fn look_up(&self, host: &Host, ca: &[String]) -> Result<Found, ResolveError> {
        let (name, base) = (host.as_str(), self.base.as_str());
        let (challenge, target) = (format!("_acme-challenge.{host}"), self.zone.target(host));
        let (delegated, addresses, base, apex, caa) = tokio::try_join!(
            self.resolver.leads_to(&challenge, &target),
            self.resolver.addresses(name),
            self.resolver.addresses(base),
            self.resolver.is_apex(name),
            self.relevant_caa(host, ca),
        )?;
        let ours = &self.public_ip | &base;
        Ok(Found { delegated, addresses, ours, apex, caa })
    }

    /// Climbs to the nearest name that has CAA records (RFC 8659 §3).
    async fn relevant_caa(
        &self,
        host: &Host,
        ca: &[String],
    ) -> Result<Option<(String, Vec<Caa>)>, ResolveError> {
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

    fn judge(&self, host: &Host, ca: &[String], found: &Found) -> Preflight {
        let leads_here = !found.addresses.is_empty() && found.addresses.is_subset(&found.ours);
        let mut kinds = Vec::new();
        kinds.extend(found.delegated.then_some(ChallengeKind::Dns01));
        if leads_here {
            kinds.extend([ChallengeKind::TlsAlpn01, ChallengeKind::Http01]);
        }
        if kinds.is_empty() {
            return Preflight::Missing {
                reason: format!(
                    "{}; if it is to lead elsewhere, make _acme-challenge.{host} a CNAME of {}",
                    self.astray(host, found),
                    self.zone.target(host)
                ),
                records: self.wanted(host, found),
            };
        }
        by_caa(kinds, false, ca, found.caa.as_ref())
    }

    fn astray(&self, host: &Host, found: &Found) -> String {
        let Found { addresses, ours, .. } = found;
        if addresses.is_empty() {
            return format!("{host} has no address in the DNS: it must lead to {}", self.base);
        }
        if ours.is_empty() {
            return format!("{} itself has no address in the DNS, and `public_ip` is not set", self.base);
        }
        let strange = list(addresses.difference(ours));
        format!("{host} leads to {strange}, which is not this gateway ({})", list(ours))
    }

    fn wanted(&self, host: &Host, found: &Found) -> Vec<DnsRecord> {
        if !found.apex {
            return vec![record(host.as_str(), "CNAME", self.base.as_str())];
        }
        let kind = |ip: &IpAddr| if ip.is_ipv4() { "A" } else { "AAAA" };
        let ours = if self.public_ip.is_empty() { &found.ours } else { &self.public_ip };
        ours.iter().map(|ip| record(host.as_str(), kind(ip), &ip.to_string())).collect()
    }
}

/// Keeps the ways that CAA allows.
fn by_caa(
    mut kinds: Vec<ChallengeKind>,
    wildcard: bool,
    ca: &[String],
    relevant: Option<&(String, Vec<Caa>)>,
) -> Preflight {
    let (Some((name, records)), [identity, ..]) = (relevant, ca) else { return Preflight::Ready(kinds) };
    kinds.retain(|kind| caa::allows(records, caa::Request { ca, wildcard, kind: *kind }));
    if !kinds.is_empty() {
        return Preflight::Ready(kinds);
    }
    let reason = format!("the CAA records of {name} do not let {} issue", ca.join(" or "));
    let mut wanted = vec![record(name, "CAA", &format!("0 issue \"{identity}\""))];
    if wildcard && records.iter().any(|record| record.tag == "issuewild") {
        wanted.push(record(name, "CAA", &format!("0 issuewild \"{identity}\"")));
    }
    Preflight::Missing { reason, records: wanted }
}

fn record(name: &str, kind: &str, value: &str) -> DnsRecord {
    DnsRecord { name: name.to_owned(), kind: kind.to_owned(), value: value.to_owned() }
}

fn list<'a>(addresses: impl IntoIterator<Item = &'a IpAddr>) -> String {
    addresses.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
