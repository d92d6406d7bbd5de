//! The listeners of the gateway's own processes, where no backend may be.

use std::net::{IpAddr, SocketAddr};

/// The most addresses of one process that are taken from the wire.
pub const MAX_LISTENERS: usize = 256;

/// The TCP listeners of one process: a route that leads to one would come back for ever, or show the public what is
/// meant for the operator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessListeners {
    /// The network stack that they are in; empty if it is not known. Loopback and unspecified addresses mean something in
    /// this one alone.
    pub stack: String,
    /// Their addresses: as they are bound, and for an unspecified one the addresses of its machine besides.
    pub addresses: Vec<SocketAddr>,
}

/// An address as it is seen from a network stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StackAddress<'a> {
    /// The stack.
    pub stack: &'a str,
    /// The address.
    pub address: SocketAddr,
    /// True if it is one of the stack's own.
    pub is_local: bool,
}

impl ProcessListeners {
    /// Returns whether one of them is at an address. IPv6's unspecified address stands for those of IPv4 too, as listening
    /// on it most often does.
    #[must_use]
    pub fn are_at(&self, seen: StackAddress<'_>) -> bool {
        let to = seen.address.ip().to_canonical();
        let is_here = !self.stack.is_empty() && self.stack == seen.stack;
        self.addresses.iter().filter(|listener| listener.port() == seen.address.port()).any(|listener| {
            match listener.ip().to_canonical() {
                IpAddr::V4(ip) if ip.is_unspecified() => is_here && seen.is_local && to.is_ipv4(),
                IpAddr::V6(ip) if ip.is_unspecified() => is_here && seen.is_local,
                ip if ip.is_loopback() => is_here && ip == to,
                ip => ip == to,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "here";
    const THERE: &str = "there";

    fn are_at(listener: &str, stack: &str, address: &str, is_local: bool) -> bool {
        // Another listener is never in the way.
        let addresses = ["192.0.2.1:9180", listener].map(|address| address.parse().unwrap()).to_vec();
        let listeners = ProcessListeners { stack: HERE.to_owned(), addresses };
        listeners.are_at(StackAddress { stack, address: address.parse().unwrap(), is_local })
    }

    #[test]
    fn a_listener_is_seen_from_its_own_machine_and_from_others() {
        for (listener, address, is_local, here, there) in [
            // Unspecified: every local address here, and none elsewhere.
            ("[::]:8080", "[400::1]:8080", true, true, false),
            ("[::]:8080", "[400::1]:8080", false, false, false),
            ("[::]:8080", "[::1]:8080", true, true, false),
            ("[::]:8080", "127.0.0.1:8080", true, true, false),
            ("[::]:8080", "[::ffff:127.0.0.1]:8080", true, true, false),
            ("0.0.0.0:8080", "127.0.0.2:8080", true, true, false),
            ("0.0.0.0:8080", "[::ffff:192.0.2.7]:8080", true, true, false),
            ("0.0.0.0:8080", "[400::1]:8080", true, false, false),
            ("[::]:8080", "[400::1]:8081", true, false, false),
            // Loopback: another server's elsewhere.
            ("127.0.0.1:9181", "127.0.0.1:9181", true, true, false),
            ("[::ffff:127.0.0.1]:9181", "127.0.0.1:9181", true, true, false),
            ("127.0.0.1:9181", "127.0.0.2:9181", true, false, false),
            ("[::1]:9181", "[::1]:9181", true, true, false),
            ("127.0.0.1:9181", "127.0.0.1:9180", true, false, false),
            // An address of one's own: the same one everywhere.
            ("[400::1]:7443", "[400::1]:7443", true, true, true),
            ("[400::1]:7443", "[400::1]:7443", false, true, true),
            ("[400::1]:7443", "[400::2]:7443", false, false, false),
            ("192.0.2.7:7443", "[::ffff:192.0.2.7]:7443", false, true, true),
        ] {
            for (stack, expected) in [(HERE, here), (THERE, there)] {
                let found = are_at(listener, stack, address, is_local);
                assert_eq!(found, expected, "{address} ({is_local}) from {stack}: {listener}");
            }
        }
    }

    #[test]
    fn a_stack_that_is_not_known_is_no_other_one() {
        let listeners =
            ProcessListeners { stack: String::new(), addresses: vec!["[::]:80".parse().unwrap()] };
        let address = "[::1]:80".parse().unwrap();
        assert!(!listeners.are_at(StackAddress { stack: "", address, is_local: true }));
    }
}
