//! The proofs that a host belongs to an owner, which are found in the DNS.
//!
//! A TXT record at `_webgateway.<host>` names this gateway and the owner's key. It is the strong proof: only the host's
//! owner can create it. An address, CNAME or `_acme-challenge` record that leads here says that the host's owner wants
//! it served by this gateway, but not for whom.

use std::collections::BTreeSet;
use std::fmt;

use async_trait::async_trait;
use webgateway_proto::model::{DnsRecord, Host, KeyId};

/// The label of the name that has the TXT record.
const LABEL: &str = "_webgateway";

/// The findings in the DNS about one host. A lookup that failed proves nothing and disproves nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostEvidence {
    /// The owners that TXT records name for this gateway, or the reason why they are not known.
    pub owners: Result<BTreeSet<KeyId>, String>,
    /// The place to which the host leads, or the reason why it is not known.
    pub target: Result<HostTarget, String>,
}

/// The place to which a host leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HostTarget {
    /// The host leads to this gateway, or its certificates are delegated to it.
    Here,
    /// The host leads nowhere or elsewhere.
    Elsewhere {
        /// A description for the owner.
        reason: String,
        /// The records that would lead it here.
        records: Vec<DnsRecord>,
    },
}

/// A source of evidence about hosts.
#[async_trait]
pub(crate) trait HostLookup: fmt::Debug + Send + Sync {
    /// Looks a host up. Takes at most a few seconds.
    async fn look_up(&self, host: &Host) -> HostEvidence;
}

/// A source for gateways whose users trust each other: every host belongs to the first who asks for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TrustingLookup;

#[async_trait]
impl HostLookup for TrustingLookup {
    async fn look_up(&self, _: &Host) -> HostEvidence {
        HostEvidence { owners: Ok(BTreeSet::new()), target: Ok(HostTarget::Here) }
    }
}

impl HostEvidence {
    /// Returns true if a TXT record names this owner.
    #[must_use]
    pub(super) fn names(&self, owner: &KeyId) -> bool {
        self.owners.as_ref().is_ok_and(|owners| owners.contains(owner))
    }
}

/// Returns the name that has the TXT record of a host.
#[must_use]
pub(crate) fn record_name(host: &Host) -> String {
    format!("{LABEL}.{host}")
}

/// Returns the TXT record that proves that a host belongs to `owner` at the gateway `base`.
#[must_use]
pub(crate) fn proof_record(host: &Host, owner: &KeyId, base: &Host) -> DnsRecord {
    DnsRecord {
        name: record_name(host),
        kind: "TXT".to_owned(),
        // A key id has no quotes or backslashes.
        value: format!("\"gateway={base} key={owner}\""),
    }
}

/// Returns the owners that the texts of TXT records name for the gateway `base`. Texts for other gateways, and those of
/// another form, are ignored.
#[must_use]
pub(crate) fn named_owners<'a>(texts: impl IntoIterator<Item = &'a str>, base: &Host) -> BTreeSet<KeyId> {
    texts.into_iter().filter_map(|text| named_owner(text, base)).collect()
}

fn named_owner(text: &str, base: &Host) -> Option<KeyId> {
    let (mut gateway, mut key) = (None, None);
    for part in text.split(|c: char| c.is_whitespace() || c == ';').filter(|part| !part.is_empty()) {
        match part.split_once('=')? {
            ("gateway", value) if gateway.is_none() => gateway = Some(value),
            ("key", value) if key.is_none() => key = Some(value),
            _ => return None,
        }
    }
    let gateway = Host::parse(gateway?).ok()?;
    key?.parse().ok().filter(|_| gateway == *base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_record_names_its_owner_at_its_gateway_alone() {
        let (host, base) = (Host::parse("shop.example.org").unwrap(), Host::parse("gw.example").unwrap());
        let owner: KeyId = "user1.pub".parse().unwrap();
        let record = proof_record(&host, &owner, &base);
        assert_eq!(record.name, "_webgateway.shop.example.org");
        assert_eq!(record.value, "\"gateway=gw.example key=user1.pub\"");
        let text = record.value.trim_matches('"');
        assert_eq!(named_owners([text], &base), BTreeSet::from([owner]));
        assert!(named_owners([text], &Host::parse("gw.example.net").unwrap()).is_empty());
    }

    #[test]
    fn only_well_formed_texts_for_this_gateway_name_an_owner() {
        let base = Host::parse("gw.example").unwrap();
        for text in [
            "gateway=gw.example key=user1.pub",
            "key=user1.pub gateway=GW.example.",
            "gateway=gw.example; key=user1.pub",
            "  gateway=gw.example;key=user1.pub ",
        ] {
            assert_eq!(named_owners([text], &base).len(), 1, "{text}");
        }
        for text in [
            "",
            "user1.pub",
            "key=user1.pub",
            "gateway=gw.example",
            "gateway=gw.example key=",
            "gateway=gw.example key=../user1.pub",
            "gateway=gw.example key=user1.pub key=user2.pub",
            "gateway=gw.example gateway=other.example key=user1.pub",
            "gateway=gw.example key=user1.pub more",
            "gateway=gw.example.evil.test key=user1.pub",
            "Gateway=gw.example KEY=user1.pub",
            "v=spf1 include:gw.example",
        ] {
            assert!(named_owners([text], &base).is_empty(), "{text}");
        }
        let two = ["gateway=gw.example key=b.pub", "gateway=gw.example key=a.pub"];
        assert_eq!(named_owners(two, &base).len(), 2);
    }
}
