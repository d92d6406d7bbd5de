//! The known listeners of the controlplane and the nodes. A route must not have one of them as a backend, because
//! requests would loop.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use tokio::sync::watch;
use webgateway_proto::model::{Backend, ProcessListeners, StackAddress};

/// The maximum number of nodes whose listeners are remembered.
const MAX_NODES: usize = 1000;

/// The known listeners of the gateway's processes. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct GatewayListeners(watch::Sender<ListenerSnapshot>);

/// The listeners that are known at one point in time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ListenerSnapshot {
    controlplane: ProcessListeners,
    nodes: BTreeMap<String, ProcessListeners>,
    /// The ports of all listeners. Most backends use none of them, which makes the check cheap.
    ports: BTreeSet<u16>,
}

impl GatewayListeners {
    /// Creates a table with the listeners of the controlplane.
    #[must_use]
    pub(crate) fn new(controlplane: ProcessListeners) -> Self {
        let mut known = ListenerSnapshot { controlplane, ..ListenerSnapshot::default() };
        known.collect_ports();
        Self(watch::Sender::new(known))
    }

    /// Replaces the listeners of the controlplane.
    pub(crate) fn set_controlplane(&self, listeners: ProcessListeners) {
        self.0.send_if_modified(|known| {
            let is_new = known.controlplane != listeners;
            known.controlplane = listeners;
            known.collect_ports();
            is_new
        });
    }

    /// Replaces the listeners of a node. They are remembered after the node disconnects, because it will use them
    /// again.
    pub(crate) fn set_node(&self, node: &str, listeners: ProcessListeners) {
        self.0.send_if_modified(|known| {
            let is_known = known.nodes.get(node);
            if is_known == Some(&listeners) || (is_known.is_none() && known.nodes.len() >= MAX_NODES) {
                return false;
            }
            known.nodes.insert(node.to_owned(), listeners);
            known.collect_ports();
            true
        });
    }

    /// Returns a receiver of the known listeners.
    pub(crate) fn subscribe(&self) -> watch::Receiver<ListenerSnapshot> {
        self.0.subscribe()
    }

    /// Returns the first of these backends that is a listener of the gateway, if any.
    pub(crate) fn first_among(&self, mut backends: impl Iterator<Item = Backend>) -> Option<Backend> {
        let known = self.0.borrow();
        backends.find(|backend| known.contains(*backend))
    }
}

impl ListenerSnapshot {
    /// Returns the listeners of every process.
    pub(crate) fn all(&self) -> impl Iterator<Item = &ProcessListeners> {
        std::iter::once(&self.controlplane).chain(self.nodes.values())
    }

    fn collect_ports(&mut self) {
        self.ports = self.all().flat_map(|listeners| &listeners.addresses).map(SocketAddr::port).collect();
    }

    /// Returns true if a node that dials `backend` would reach one of these listeners. While no node has reported its
    /// network stack, nodes are assumed to run on the controlplane's machine.
    fn contains(&self, backend: Backend) -> bool {
        let address = backend.address();
        if !self.ports.contains(&address.port()) {
            return false;
        }
        let of_nodes: BTreeSet<&str> = self.nodes.values().map(|node| node.stack.as_str()).collect();
        let stacks = if of_nodes.is_empty() { [self.controlplane.stack.as_str()].into() } else { of_nodes };
        let ip = address.ip();
        // Any other address of a stack is listed with its listeners.
        let is_local = ip.is_loopback() || ip.is_unspecified();
        let mut seen = stacks.into_iter().map(|stack| StackAddress { stack, address, is_local });
        seen.any(|seen| self.all().any(|listeners| listeners.are_at(seen)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listeners(stack: &str, addresses: &[&str]) -> ProcessListeners {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        ProcessListeners { stack: stack.to_owned(), addresses }
    }

    fn backends(text: &str) -> impl Iterator<Item = Backend> {
        ["[400::99]:1", text].map(|text| text.parse().unwrap()).into_iter()
    }

    #[test]
    fn a_backend_that_is_a_listener_reachable_from_a_node_is_found() {
        let rpc = "127.0.0.1:8080";
        let controlplane = || listeners("one", &[rpc, "[::]:53", "[400::1]:53", "[400::1]:7443"]);
        let of_node = |stack| listeners(stack, &["[::]:443", "[400::2]:443", "127.0.0.1:9180"]);
        for (node, address, refused) in [
            // No node has reported its network stack: it is assumed to be the controlplane's.
            (None, rpc, true),
            (None, "127.0.0.1:53", true),
            (None, "[400::1]:53", true),
            (None, "[400::1]:7443", true),
            (None, "[400::1]:8080", false),
            (None, "[400::2]:443", false),
            // A node on the same machine.
            (Some("one"), rpc, true),
            (Some("one"), "[::1]:53", true),
            (Some("one"), "127.0.0.1:9180", true),
            (Some("one"), "[400::2]:443", true),
            // A node on another machine, with another loopback.
            (Some("two"), rpc, false),
            (Some("two"), "[::1]:53", false),
            (Some("two"), "[400::1]:53", true),
            (Some("two"), "[400::1]:7443", true),
            (Some("two"), "127.0.0.1:443", true),
            (Some("two"), "127.0.0.1:9180", true),
            (Some("two"), "[400::2]:443", true),
            (Some("two"), "[400::2]:8443", false),
        ] {
            let known = GatewayListeners::new(controlplane());
            if let Some(stack) = node {
                known.set_node("n", of_node(stack));
            }
            let found = known.first_among(backends(address)).is_some();
            assert_eq!(found, refused, "{address}, node {node:?}");
        }
    }

    #[test]
    fn only_changes_notify_receivers() {
        let known = GatewayListeners::new(listeners("one", &[]));
        let mut news = known.subscribe();
        known.set_node("n", listeners("two", &["[::]:443"]));
        assert!(news.has_changed().unwrap());
        news.mark_unchanged();
        known.set_node("n", listeners("two", &["[::]:443"]));
        known.set_controlplane(listeners("one", &[]));
        assert!(!news.has_changed().unwrap());
        known.set_controlplane(listeners("one", &["[::]:53"]));
        assert_eq!(news.borrow_and_update().all().count(), 2);
    }
}
