//! The flags of `gwctl nodes …` as params of the API.

use webgateway_proto::api::{NodeDrain, NodeInvite, NodeRef};
use webgateway_proto::model::{NodeName, RemoteAddress};

use super::call::Call;
use super::invalid::InvalidArg;
use crate::cli::{Invite, Nodes};

/// The bounds of `--ttl`, in seconds.
const TTL: std::ops::RangeInclusive<u64> = 60..=7 * 24 * 3600;

/// Returns the call that a command stands for.
pub(super) fn call(command: Nodes) -> Result<Call, InvalidArg> {
    Ok(match command {
        Nodes::List => Call::Nodes,
        Nodes::Invite(flags) => Call::Invite(invite(&flags)?),
        // A node of the controlplane's machine may have any name.
        Nodes::Drain(flags) => Call::Drain(NodeDrain { node: flags.node.name, drain: !flags.undo }),
        Nodes::Remove(node) => Call::Remove(NodeRef { node: node.name }),
    })
}

fn invite(flags: &Invite) -> Result<NodeInvite, InvalidArg> {
    let name: NodeName = flags.name.parse()?;
    let address: Option<RemoteAddress> = flags.address.as_deref().map(str::parse).transpose()?;
    let ttl =
        humantime::parse_duration(&flags.ttl).ok().map(|ttl| ttl.as_secs()).filter(|ttl| TTL.contains(ttl));
    Ok(NodeInvite {
        node: name.to_string(),
        address: address.map(|address| address.to_string()),
        ttl: Some(ttl.ok_or_else(|| InvalidArg::Ttl(flags.ttl.clone()))?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(name: &str, address: Option<&str>, ttl: &str) -> Invite {
        Invite { name: name.into(), address: address.map(str::to_owned), ttl: ttl.into() }
    }

    #[test]
    fn times_are_bounded_and_have_a_unit() {
        for (text, seconds) in [("60s", 60), ("30m", 1800), ("1h", 3600), ("1h 30m", 5400), ("7d", 604_800)] {
            assert_eq!(invite(&flags("fra-1", None, text)).unwrap().ttl, Some(seconds));
        }
        for bad in ["", "h", "1", "59s", "8d", "-1h", "99999999999999999999d", "1ä"] {
            assert!(matches!(invite(&flags("fra-1", None, bad)), Err(InvalidArg::Ttl(_))), "{bad}");
        }
    }

    #[test]
    fn names_and_addresses_are_read_here() {
        let params = invite(&flags("fra-1", Some("Control.example:7443"), "1h")).unwrap();
        assert_eq!(params.address.as_deref(), Some("control.example:7443"));
        assert!(matches!(invite(&flags("a b", None, "1h")), Err(InvalidArg::NodeName(_))));
        assert!(matches!(invite(&flags("fra-1", Some("x"), "1h")), Err(InvalidArg::Address(_))));
    }
}
