//! The evidence in the DNS for claims of hosts.

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use webgateway_proto::model::Host;

use super::{HostRecords, PreflightChecker, lead_here};
use crate::dns::resolver::ResolveError;
use crate::domain::{HostEvidence, HostLookup, HostTarget, named_owners, record_name};

/// The lookup of evidence with the current checker, which a reload replaces.
#[async_trait]
impl HostLookup for ArcSwap<PreflightChecker> {
    async fn look_up(&self, host: &Host) -> HostEvidence {
        let checker: Arc<PreflightChecker> = self.load_full();
        checker.evidence(host).await
    }
}

impl PreflightChecker {
    /// Looks up whether the host leads to this gateway, and which owners its TXT records name. The DNS is asked even if
    /// the check before orders is turned off.
    async fn evidence(&self, host: &Host) -> HostEvidence {
        let name = record_name(host);
        let (found, texts) = tokio::join!(self.look_up(host, &[]), self.resolver.txt(&name));
        let owners = texts.map(|texts| named_owners(texts.iter().map(String::as_str), &self.base));
        HostEvidence {
            owners: owners.map_err(|error| error.to_string()),
            target: self.target(host, &found).await.map_err(|error| error.to_string()),
        }
    }

    async fn target(&self, host: &Host, found: &HostRecords) -> Result<HostTarget, ResolveError> {
        let ours: BTreeSet<_> = found.base.iter().flatten().chain(&self.public_ip).copied().collect();
        let addresses = found.addresses.as_ref();
        if found.delegated == Ok(true) || addresses.is_ok_and(|addresses| lead_here(addresses, &ours)) {
            return Ok(HostTarget::Here);
        }
        let addresses = addresses.map_err(Clone::clone)?;
        found.delegated.clone()?;
        if !addresses.is_empty() {
            found.base.clone()?;
        }
        let mismatch = self.describe_mismatch(host, addresses, &ours);
        let reason = format!("{mismatch}; {}", self.alternative(host));
        Ok(HostTarget::Elsewhere { reason, records: self.required_records(host, &ours).await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::resolver::Resolver;
    use crate::dns::sample::{RecordType, ResponseCode, failing, serve};
    use crate::dns::zone::Zone;

    const TXT: &str = "gateway=gw.example key=user1.pub";

    fn checker(server: std::net::SocketAddr) -> ArcSwap<PreflightChecker> {
        let base = Host::parse("gw.example").unwrap();
        let zone = Zone::new(&base).unwrap();
        let resolver = Resolver::new(&[server]).unwrap();
        ArcSwap::from_pointee(PreflightChecker::new(resolver, zone, base, &["192.0.2.1".parse().unwrap()]))
    }

    #[tokio::test]
    async fn the_dns_says_who_owns_a_host_and_where_it_leads() {
        let zone = Zone::new(&Host::parse("gw.example").unwrap()).unwrap();
        let delegated = zone.target(&Host::parse("delegated.example.org").unwrap());
        let delegated: &'static str = Box::leak(delegated.into_boxed_str());
        let names = serve(&[(
            "example.org",
            &[
                ("here.example.org", "A", "192.0.2.1"),
                ("elsewhere.example.org", "A", "192.0.2.9"),
                ("both.example.org", "A", "192.0.2.1"),
                ("both.example.org", "A", "192.0.2.9"),
                ("_webgateway.here.example.org", "TXT", TXT),
                ("_webgateway.here.example.org", "TXT", "gateway=other.example key=user2.pub"),
                ("_acme-challenge.delegated.example.org", "CNAME", delegated),
            ],
        )])
        .await;
        let lookup = checker(names.address);
        for (host, owners, is_here) in [
            ("here.example.org", 1, true),
            ("elsewhere.example.org", 0, false),
            ("both.example.org", 0, false),
            ("nowhere.example.org", 0, false),
            ("delegated.example.org", 0, true),
        ] {
            let evidence = lookup.look_up(&Host::parse(host).unwrap()).await;
            assert_eq!(evidence.owners.unwrap().len(), owners, "{host}");
            assert_eq!(evidence.target.unwrap() == HostTarget::Here, is_here, "{host}");
        }
    }

    #[tokio::test]
    async fn a_failed_lookup_is_no_answer() {
        let names = serve(&[("example.org", &[("here.example.org", "A", "192.0.2.1")])]).await;
        for (name, kind, owners_known, target_known) in [
            ("_webgateway.here.example.org", RecordType::TXT, false, true),
            ("_webgateway.nowhere.example.org", RecordType::TXT, false, true),
            ("nowhere.example.org", RecordType::A, true, false),
            ("_acme-challenge.nowhere.example.org", RecordType::CNAME, true, false),
            ("_acme-challenge.here.example.org", RecordType::CNAME, true, true),
        ] {
            let questions: &'static [_] = Box::leak(Box::new([(name, kind)]));
            let server = failing(&names, Some(ResponseCode::ServFail), questions).await;
            let host =
                Host::parse(name.trim_start_matches("_webgateway.").trim_start_matches("_acme-challenge."));
            let evidence = checker(server.address).look_up(&host.unwrap()).await;
            assert_eq!(evidence.owners.is_ok(), owners_known, "{name} {kind}");
            assert_eq!(evidence.target.is_ok(), target_known, "{name} {kind}");
        }
    }
}
