//! The zone `_acme-challenge.<base domain>`: SOA and NS records at its apex, and the current TXT values.

use std::sync::Arc;

use hickory_server::net::runtime::TokioRuntimeProvider;
use hickory_server::proto::rr::rdata::{NS, SOA, TXT};
use hickory_server::proto::rr::{LowerName, Name, RData, Record};
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
use thiserror::Error;
use webgateway_proto::model::Host;

use super::txt::TxtName;

/// The time to live of all records, in seconds. It is short because the values of one order are useless to the next.
const TTL: u32 = 5;
/// The refresh, retry and expire intervals in the SOA record, in seconds. There is no secondary server to use them.
const REFRESH: i32 = 3600;
const SERIAL: u32 = 1;

/// The base domain is too long for a zone below it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`base_domain`: `_acme-challenge.{0}` is longer than a domain name may be: choose a shorter one")]
pub struct ZoneError(Host);

/// The names of the zone.
#[derive(Debug, Clone)]
pub(crate) struct Zone {
    base: Host,
    origin: Name,
    server: Name,
    contact: Name,
}

impl Zone {
    /// Creates the zone below the base domain. The base domain is also its name server, to which it is delegated.
    pub(crate) fn new(base: &Host) -> Result<Self, ZoneError> {
        let name = |text: String| Name::from_ascii(text).map_err(|_| ZoneError(base.clone()));
        let zone = Self {
            base: base.clone(),
            origin: name(format!("_acme-challenge.{base}."))?,
            server: name(format!("{base}."))?,
            contact: name(format!("hostmaster.{base}."))?,
        };
        // All labels have the same length: if one fits, all do.
        let below = base.child("x").map(|host| TxtName::for_host(&host, base));
        below.ok().and_then(|name| zone.fqdn(&name)).ok_or_else(|| ZoneError(base.clone()))?;
        Ok(zone)
    }

    /// Returns the target for the CNAME record at `_acme-challenge.<host>`, without a trailing dot.
    #[must_use]
    pub(crate) fn target(&self, host: &Host) -> String {
        match TxtName::for_host(host, &self.base) {
            TxtName::Apex => format!("_acme-challenge.{}", self.base),
            TxtName::Below(label) => format!("{label}._acme-challenge.{}", self.base),
        }
    }

    /// Returns the zone with these TXT values. Queries for names outside the zone are refused.
    #[must_use]
    pub(crate) fn catalog(&self, values: Vec<(TxtName, String)>) -> Catalog {
        let soa = SOA::new(self.server.clone(), self.contact.clone(), SERIAL, REFRESH, REFRESH, REFRESH, TTL);
        let mut zone = InMemoryZoneHandler::<TokioRuntimeProvider>::empty(
            self.origin.clone(),
            ZoneType::Primary,
            AxfrPolicy::Deny,
        );
        let apex = [RData::SOA(soa), RData::NS(NS(self.server.clone()))];
        let apex = apex.into_iter().map(|data| (self.origin.clone(), data));
        let texts = values
            .into_iter()
            .filter_map(|(name, value)| Some((self.fqdn(&name)?, RData::TXT(TXT::new(vec![value])))));
        for (name, data) in apex.chain(texts) {
            zone.upsert_mut(Record::from_rdata(name, TTL, data), SERIAL);
        }
        let mut catalog = Catalog::new();
        catalog.upsert(LowerName::new(&self.origin), vec![Arc::new(zone)]);
        catalog
    }

    fn fqdn(&self, name: &TxtName) -> Option<Name> {
        match name {
            TxtName::Apex => Some(self.origin.clone()),
            TxtName::Below(label) => self.origin.prepend_label(label.as_str()).ok(),
        }
    }
}
