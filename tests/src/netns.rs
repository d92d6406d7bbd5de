//! Network namespaces: each scenario has a loopback of its own with overlay addresses.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid};

/// The number of overlay addresses that a scenario can bind to: `400::1` to `400::20`.
const ADDRESSES: u16 = 0x20;

const HINT: &str = "the scenarios need a network namespace of their own: run them as root, or allow \
    unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1, \
    and on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0)";

/// Prepares for [`enter`]. Call this first in `main`: a process with threads cannot enter a user namespace.
pub fn prepare() -> Result<()> {
    if unshare(CloneFlags::CLONE_NEWNET).is_ok() {
        return Ok(());
    }
    let (uid, gid) = (Uid::current(), Gid::current());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET).context(HINT)?;
    fs::write("/proc/self/setgroups", "deny").context(HINT)?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1")).context(HINT)?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1")).context(HINT)
}

/// Removes the `n`th overlay address: packets to it are dropped silently.
pub fn remove_address(n: u16) -> Result<()> {
    let address = address(n);
    ip(&format!("addr del {address}/7 dev lo\nroute add blackhole {address}/128 table local\n"))
}

/// Moves this thread, and the processes and threads that it starts, into a new namespace.
///
/// Every address of `400::/7` is local there: those of [`overlay`] can be bound, others refuse connections.
pub fn enter() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context(HINT)?;
    let mut batch = String::from("link set lo up\nroute add local 400::/7 dev lo\n");
    for n in 1..=ADDRESSES {
        writeln!(batch, "addr add {}/7 dev lo nodad", address(n))?;
    }
    ip(&batch)
}

/// Runs the commands of a batch in this thread's namespace.
fn ip(batch: &str) -> Result<()> {
    let spawned = Command::new("ip")
        .args(["-6", "-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut ip = match spawned {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!("the scenarios need the `ip` command: apt-get install iproute2")
        }
        spawned => spawned.context("ip")?,
    };
    ip.stdin.take().context("ip has no stdin")?.write_all(batch.as_bytes())?;
    let output = ip.wait_with_output()?;
    ensure!(output.status.success(), "{HINT}; ip said: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Returns the `n`th overlay address of the scenario (1 to 32) with this port.
#[must_use]
pub fn overlay(n: u16, port: u16) -> SocketAddr {
    assert!((1..=ADDRESSES).contains(&n), "a scenario has {ADDRESSES} overlay addresses");
    SocketAddr::new(IpAddr::V6(address(n)), port)
}

const fn address(n: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x400, 0, 0, 0, 0, 0, 0, n)
}
