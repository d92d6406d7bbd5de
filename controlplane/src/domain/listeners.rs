//! The listeners of the gateway itself, the controlplane's and the nodes', as far as they are known: no backend is there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use tokio::sync::watch;
use webgateway_proto::model::{Backend, Backends, ProcessListeners, StackAddress};

/// The most nodes whose listeners are remembered.
const MAX_NODES: usize = 1000;

/// The listeners of the gateway, as far as they are known. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct GatewayListeners(watch::Sender<KnownListeners>);

/// The listeners that are known at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KnownListeners {
    controlplane: ProcessListeners,
    nodes: BTreeMap<String, ProcessListeners>,
    /// The ports of all of them: most backends are at none.
    ports: BTreeSet<u16>,
}

impl GatewayListeners {
    /// Knows those of the controlplane.
    #[must_use]
    pub(crate) fn new(controlplane: ProcessListeners) -> Self {
        let mut known = KnownListeners { controlplane, ..KnownListeners::default() };
        known.collect_ports();
        Self(watch::Sender::new(known))
    }

    /// Takes those of the controlplane as they are now.
    pub(crate) fn set_controlplane(&self, listeners: ProcessListeners) {
        self.0.send_if_modified(|known| {
            let is_new = known.controlplane != listeners;
            known.controlplane = listeners;
            known.collect_ports();
            is_new
        });
    }

    /// Takes those of a node, as it says. They are remembered when it is away: it comes back to them.
    pub(crate) fn learn(&self, node: &str, listeners: ProcessListeners) {
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

    /// Follows what is known.
    pub(crate) fn subscribe(&self) -> watch::Receiver<KnownListeners> {
        self.0.subscribe()
    }

    /// Returns the first of these backends that is a listener of the gateway.
    pub(crate) fn first_among(&self, backends: &Backends) -> Option<Backend> {
        let known = self.0.borrow();
        backends.as_slice().iter().copied().find(|backend| known.have(*backend))
    }
}

impl KnownListeners {
    /// Returns those of every process.
    pub(crate) fn all(&self) -> impl Iterator<Item = &ProcessListeners> {
        std::iter::once(&self.controlplane).chain(self.nodes.values())
    }

    fn collect_ports(&mut self) {
        self.ports = self.all().flat_map(|listeners| &listeners.addresses).map(SocketAddr::port).collect();
    }

    /// Returns whether a node that dials a backend would come to one of them. Without a node that says where it is, it is
    /// on the controlplane's machine.
    fn have(&self, backend: Backend) -> bool {
        let address = backend.address();
        if !self.ports.contains(&address.port()) {
            return false;
        }
        let of_nodes: BTreeSet<&str> = self.nodes.values().map(|node| node.stack.as_str()).collect();
        let stacks = if of_nodes.is_empty() { [self.controlplane.stack.as_str()].into() } else { of_nodes };
        let ip = address.ip();
        // Other addresses of a stack are among those of its listeners.
        let is_local = ip.is_loopback() || ip.is_unspecified();
        let mut seen = stacks.into_iter().map(|stack| StackAddress { stack, address, is_local });
        seen.any(|seen| self.all().any(|listeners| listeners.are_at(seen)))
    }
}

#[cfg(test)]
mod tests {
    use webgateway_proto::model::Prefixes;

    use super::*;

    fn listeners(stack: &str, addresses: &[&str]) -> ProcessListeners {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        ProcessListeners { stack: stack.to_owned(), addresses }
    }

    fn backends(text: &str) -> Backends {
        let everywhere = Prefixes::new(vec!["::/0".parse().unwrap(), "0.0.0.0/0".parse().unwrap()]);
        Backends::parse(&["[400::99]:1", text], &everywhere).unwrap()
    }

    #[test]
    fn a_backend_is_refused_where_a_node_would_come_to_a_listener() {
        let rpc = "127.0.0.1:8080";
        let controlplane = || listeners("one", &[rpc, "[::]:53", "[400::1]:53", "[400::1]:7443"]);
        let of_node = |stack| listeners(stack, &["[::]:443", "[400::2]:443", "127.0.0.1:9180"]);
        for (node, address, refused) in [
            // No node has said where it is: it is here.
            (None, rpc, true),
            (None, "127.0.0.1:53", true),
            (None, "[400::1]:53", true),
            (None, "[400::1]:7443", true),
            (None, "[400::1]:8080", false),
            (None, "[400::2]:443", false),
            // A node of this machine.
            (Some("one"), rpc, true),
            (Some("one"), "[::1]:53", true),
            (Some("one"), "127.0.0.1:9180", true),
            (Some("one"), "[400::2]:443", true),
            // A node of another machine: the loopback there is another one.
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
                known.learn("n", of_node(stack));
            }
            let found = known.first_among(&backends(address)).is_some();
            assert_eq!(found, refused, "{address}, node {node:?}");
        }
    }

    #[test]
    fn only_news_is_told() {
        let known = GatewayListeners::new(listeners("one", &[]));
        let mut news = known.subscribe();
        known.learn("n", listeners("two", &["[::]:443"]));
        assert!(news.has_changed().unwrap());
        news.mark_unchanged();
        known.learn("n", listeners("two", &["[::]:443"]));
        known.set_controlplane(listeners("one", &[]));
        assert!(!news.has_changed().unwrap());
        known.set_controlplane(listeners("one", &["[::]:53"]));
        assert_eq!(news.borrow_and_update().all().count(), 2);
    }
}
