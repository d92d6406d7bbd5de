//! The listeners of the gateway's own processes, which are not allowed as backends.

use std::net::{IpAddr, SocketAddr};

/// The maximum number of addresses of one process. Further ones are ignored.
pub const MAX_LISTENERS: usize = 256;

/// The TCP listeners of one process. A route to one of them would loop, or expose the operator's services to the
/// public.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessListeners {
    /// The id of their network stack; empty if it is not known. Loopback and unspecified addresses are compared only
    /// within the same stack.
    pub stack: String,
    /// The bound addresses; for an unspecified one, also those of its machine's interfaces.
    pub addresses: Vec<SocketAddr>,
}

/// An address, and the network stack from which it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StackAddress<'a> {
    /// The id of the network stack.
    pub stack: &'a str,
    /// The address.
    pub address: SocketAddr,
    /// True if the address belongs to the stack.
    pub is_local: bool,
}

impl ProcessListeners {
    /// Returns whether a listener can be reached at an address. An IPv6 listener on `::` is assumed to accept IPv4,
    /// too.
    #[must_use]
    pub fn are_at(&self, target: StackAddress<'_>) -> bool {
        let to = target.address.ip().to_canonical();
        let is_here = !self.stack.is_empty() && self.stack == target.stack;
        self.addresses.iter().filter(|listener| listener.port() == target.address.port()).any(|listener| {
            match listener.ip().to_canonical() {
                IpAddr::V4(ip) if ip.is_unspecified() => is_here && target.is_local && to.is_ipv4(),
                IpAddr::V6(ip) if ip.is_unspecified() => is_here && target.is_local,
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
        // The list has another listener, which must not matter.
        let addresses = ["192.0.2.1:9180", listener].map(|address| address.parse().unwrap()).to_vec();
        let listeners = ProcessListeners { stack: HERE.to_owned(), addresses };
        listeners.are_at(StackAddress { stack, address: address.parse().unwrap(), is_local })
    }

    #[test]
    fn a_listener_is_found_from_its_own_stack_and_from_others() {
        for (listener, address, is_local, here, there) in [
            // Unspecified: every local address of the same stack, and none of another.
            ("[::]:8080", "[400::1]:8080", true, true, false),
            ("[::]:8080", "[400::1]:8080", false, false, false),
            ("[::]:8080", "[::1]:8080", true, true, false),
            ("[::]:8080", "127.0.0.1:8080", true, true, false),
            ("[::]:8080", "[::ffff:127.0.0.1]:8080", true, true, false),
            ("0.0.0.0:8080", "127.0.0.2:8080", true, true, false),
            ("0.0.0.0:8080", "[::ffff:192.0.2.7]:8080", true, true, false),
            ("0.0.0.0:8080", "[400::1]:8080", true, false, false),
            ("[::]:8080", "[400::1]:8081", true, false, false),
            // Loopback: only that of the same stack.
            ("127.0.0.1:9181", "127.0.0.1:9181", true, true, false),
            ("[::ffff:127.0.0.1]:9181", "127.0.0.1:9181", true, true, false),
            ("127.0.0.1:9181", "127.0.0.2:9181", true, false, false),
            ("[::1]:9181", "[::1]:9181", true, true, false),
            ("127.0.0.1:9181", "127.0.0.1:9180", true, false, false),
            // An interface's address: the same from every stack.
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
    fn an_unknown_stack_equals_no_other_one() {
        let listeners =
            ProcessListeners { stack: String::new(), addresses: vec!["[::]:80".parse().unwrap()] };
        let address = "[::1]:80".parse().unwrap();
        assert!(!listeners.are_at(StackAddress { stack: "", address, is_local: true }));
    }
}
