//! The network stack of this process: its id and its addresses.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::sync::LazyLock;
use std::{fs, process};

use nix::ifaddrs::getifaddrs;

/// The id of this process's network stack.
static STACK: LazyLock<String> = LazyLock::new(|| {
    // The id of the kernel's boot, and the network namespace within it.
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let namespace = fs::metadata("/proc/self/ns/net");
    match (boot, namespace) {
        (Ok(boot), Ok(namespace)) => format!("{}/{}", boot.trim(), namespace.ino()),
        // Without these files, the id equals that of no other process.
        _ => format!("unknown/{:x}", RandomState::new().hash_one(process::id())),
    }
});

/// Returns the id of this process's network stack. Two processes have the same id only if they share their loopback.
#[must_use]
pub fn network_stack() -> &'static str {
    &STACK
}

/// Returns the addresses of listeners as seen from other machines: the bound ones, and for an unspecified one also
/// those of this machine's interfaces, except loopback and link-local ones.
pub fn reachable(listeners: &[SocketAddr]) -> io::Result<Vec<SocketAddr>> {
    let local = local_addresses()?;
    let mut addresses = listeners.to_vec();
    for listener in listeners.iter().filter(|listener| listener.ip().is_unspecified()) {
        // A listener on IPv6's unspecified address also accepts IPv4.
        let own = local.iter().filter(|ip| listener.is_ipv6() || ip.is_ipv4());
        addresses.extend(own.map(|ip| SocketAddr::new(*ip, listener.port())));
    }
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

fn local_addresses() -> io::Result<Vec<IpAddr>> {
    let addresses = getifaddrs()?.filter_map(|interface| interface.address).filter_map(|address| {
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    });
    Ok(addresses.filter(|ip| !ip.is_loopback() && !is_link_local(*ip)).collect())
}

const fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_stack_contains_its_network_namespace() {
        let namespace = fs::read_link("/proc/self/ns/net").unwrap();
        let number: String = namespace.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
        assert!(network_stack().ends_with(&format!("/{number}")), "{} {namespace:?}", network_stack());
    }

    #[test]
    fn an_unspecified_address_is_extended_by_those_of_the_machine() {
        let bound: Vec<SocketAddr> = ["127.0.0.1:1", "[400::1]:2"].map(|text| text.parse().unwrap()).to_vec();
        assert_eq!(reachable(&bound).unwrap(), bound);
        let wide = reachable(&["[::]:3".parse().unwrap()]).unwrap();
        let own = local_addresses().unwrap();
        assert!(own.iter().all(|ip| wide.contains(&SocketAddr::new(*ip, 3))), "{wide:?}");
        assert!(wide.iter().all(|address| address.port() == 3 && !address.ip().is_loopback()), "{wide:?}");
    }
}
