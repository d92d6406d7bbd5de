//! The conversion of `gwctl nodes …` into API params.

use webgateway_proto::api::{NodeDrain, NodeInvite, NodeRef};
use webgateway_proto::model::{NodeName, RemoteAddress};

use super::call::Call;
use super::error::ArgError;
use crate::cli::{Invite, Nodes};

/// The range of `--ttl`, in seconds.
const TTL_RANGE: std::ops::RangeInclusive<u64> = 60..=7 * 24 * 3600;

/// Returns the API call for a command.
pub(super) fn call(command: Nodes) -> Result<Call, ArgError> {
    Ok(match command {
        Nodes::List => Call::Nodes,
        Nodes::Invite(flags) => Call::Invite(invite(&flags)?),
        // The name is not validated: a node on the controlplane's machine may have any name.
        Nodes::Drain(flags) => Call::Drain(NodeDrain { node: flags.node.name, drain: !flags.undo }),
        Nodes::Remove(node) => Call::Remove(NodeRef { node: node.name }),
    })
}

fn invite(flags: &Invite) -> Result<NodeInvite, ArgError> {
    let name: NodeName = flags.name.parse()?;
    let address: Option<RemoteAddress> = flags.address.as_deref().map(str::parse).transpose()?;
    let ttl = humantime::parse_duration(&flags.ttl)
        .ok()
        .map(|ttl| ttl.as_secs())
        .filter(|ttl| TTL_RANGE.contains(ttl));
    Ok(NodeInvite {
        node: name.to_string(),
        address: address.map(|address| address.to_string()),
        ttl: Some(ttl.ok_or_else(|| ArgError::Ttl(flags.ttl.clone()))?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(name: &str, address: Option<&str>, ttl: &str) -> Invite {
        Invite { name: name.into(), address: address.map(str::to_owned), ttl: ttl.into() }
    }

    #[test]
    fn a_ttl_needs_a_unit_and_is_bounded() {
        for (text, seconds) in [("60s", 60), ("30m", 1800), ("1h", 3600), ("1h 30m", 5400), ("7d", 604_800)] {
            assert_eq!(invite(&flags("fra-1", None, text)).unwrap().ttl, Some(seconds));
        }
        for bad in ["", "h", "1", "59s", "8d", "-1h", "99999999999999999999d", "1ä"] {
            assert!(matches!(invite(&flags("fra-1", None, bad)), Err(ArgError::Ttl(_))), "{bad}");
        }
    }

    #[test]
    fn names_and_addresses_are_validated() {
        let params = invite(&flags("fra-1", Some("Control.example:7443"), "1h")).unwrap();
        assert_eq!(params.address.as_deref(), Some("control.example:7443"));
        assert!(matches!(invite(&flags("a b", None, "1h")), Err(ArgError::NodeName(_))));
        assert!(matches!(invite(&flags("fra-1", Some("x"), "1h")), Err(ArgError::Address(_))));
    }
}
