//! The snapshot: all resources of a node as one immutable value, which is replaced as a whole.

mod certs;
mod challenges;
mod table;

use std::sync::Arc;

use webgateway_proto::feed::{FeedVersion, ResourceName, Settings, TicketKeys};
use webgateway_proto::model::Prefixes;

pub(crate) use certs::{Certs, ServedCert};
pub(crate) use challenges::{ACME_TLS, Challenges, ServedChallenge};
pub(crate) use table::RouteTable;

#[cfg(test)]
pub(crate) use certs::tests;

/// All resources of a node. Clones share structure, so that a change of one resource is cheap even with a million
/// routes.
#[derive(Clone, Default)]
pub(crate) struct Snapshot {
    /// The last version of which every resource could be used.
    pub held: Option<FeedVersion>,
    /// The settings of the gateway; `None` before the first sync.
    pub settings: Option<Arc<Settings>>,
    /// The routes, by host and by id.
    pub routes: RouteTable,
    /// The certificates, by name.
    pub certs: Certs,
    /// The ACME challenges, by host.
    pub challenges: Challenges,
    /// The keys of TLS session tickets; `None` before the controlplane has sent them.
    pub ticket_keys: Option<Arc<TicketKeys>>,
    /// The names of the rejected resources that have not been replaced or removed since.
    pub rejected: imbl::OrdSet<String>,
}

impl Snapshot {
    /// Returns the prefixes in which backends are allowed.
    #[must_use]
    pub(crate) fn allowed_backends(&self) -> Prefixes {
        self.settings.as_ref().map_or_else(Prefixes::default, |s| s.allowed_backends.clone())
    }

    /// Returns whether `host` is the base domain.
    #[must_use]
    pub(crate) fn is_base(&self, host: &str) -> bool {
        self.settings.as_ref().is_some_and(|s| s.base_domain.as_str() == host)
    }

    /// Iterates over the names of all resources.
    pub(crate) fn names(&self) -> impl Iterator<Item = ResourceName> {
        let settings = self.settings.iter().map(|_| ResourceName::Settings);
        let certs = self.certs.ids().map(|id| ResourceName::Certificate(id.clone()));
        let challenges = self.challenges.hosts().map(|host| ResourceName::Challenge(host.clone()));
        let tickets = self.ticket_keys.iter().map(|_| ResourceName::TicketKeys);
        let all_but_routes = settings.chain(tickets).chain(certs).chain(challenges);
        all_but_routes.chain(self.routes.ids().map(|id| ResourceName::Route(*id)))
    }
}
