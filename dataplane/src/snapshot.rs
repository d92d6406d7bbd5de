//! Everything a node knows, as one immutable value that is replaced whole.

mod certs;
mod challenges;
mod table;

use std::sync::Arc;

use webgateway_proto::feed::{FeedVersion, ResourceName, Settings, TicketKeys};
use webgateway_proto::model::Prefixes;

pub(crate) use certs::{Certs, ServedCert};
pub(crate) use challenges::{ACME_TLS, Challenges, ServedChallenge};
pub(crate) use table::Table;

#[cfg(test)]
pub(crate) use certs::tests;

/// Everything a node knows. Cloning shares structure: a change costs the same with ten routes and with a million.
#[derive(Clone, Default)]
pub(crate) struct Snapshot {
    /// The last version of which everything could be used.
    pub held: Option<FeedVersion>,
    /// What holds for the whole gateway; `None` before the first sync.
    pub settings: Option<Arc<Settings>>,
    /// Hosts and where they go.
    pub routes: Table,
    /// What is served for which name.
    pub certs: Certs,
    /// What a CA is answered.
    pub challenges: Challenges,
    /// What session tickets are sealed with; `None` before the controlplane has said it.
    pub ticket_keys: Option<Arc<TicketKeys>>,
    /// What was rejected and not put right since.
    pub rejected: imbl::OrdSet<String>,
}

impl Snapshot {
    /// Where backends may be.
    #[must_use]
    pub(crate) fn allowed_backends(&self) -> Prefixes {
        self.settings.as_ref().map_or_else(Prefixes::default, |s| s.allowed_backends.clone())
    }

    /// Whether `host` is the operator's domain.
    #[must_use]
    pub(crate) fn is_base(&self, host: &str) -> bool {
        self.settings.as_ref().is_some_and(|s| s.base_domain.as_str() == host)
    }

    /// The names of all resources held.
    pub(crate) fn names(&self) -> impl Iterator<Item = ResourceName> {
        let settings = self.settings.iter().map(|_| ResourceName::Settings);
        let certs = self.certs.ids().map(|id| ResourceName::Certificate(id.clone()));
        let challenges = self.challenges.hosts().map(|host| ResourceName::Challenge(host.clone()));
        let tickets = self.ticket_keys.iter().map(|_| ResourceName::TicketKeys);
        let few = settings.chain(tickets).chain(certs).chain(challenges);
        few.chain(self.routes.ids().map(|id| ResourceName::Route(*id)))
    }
}
