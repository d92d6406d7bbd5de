//! A simulated systemd: passes sockets to services and receives their notifications (sd_notify(3)).

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Socket, Type};

use crate::process::{MAX_SOCKETS, Process};
use crate::sandbox::Sandbox;

/// The watchdog interval, in microseconds; services notify three times within it.
const WATCHDOG_USEC: &str = "900000";

/// The manager of one service. Its sockets stay open when the service ends.
#[derive(Debug)]
pub struct Systemd {
    sockets: Vec<(String, OwnedFd)>,
    notify: UnixDatagram,
    path: PathBuf,
    said: Mutex<Vec<String>>,
}

impl Systemd {
    /// Creates a manager without sockets.
    pub fn new(sandbox: &Sandbox, service: &str) -> Result<Self> {
        let path = sandbox.path(&format!("{service}.notify"));
        let notify = UnixDatagram::bind(&path)?;
        notify.set_nonblocking(true)?;
        Ok(Self { sockets: Vec::new(), notify, path, said: Mutex::default() })
    }

    /// Adds a TCP socket, as `ListenStream=` with `ReusePort=yes` does.
    pub fn tcp(mut self, name: &str, address: &str) -> Result<Self> {
        let address: SocketAddr = address.parse()?;
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        socket.listen(1024)?;
        self.sockets.push((name.to_owned(), socket.into()));
        Ok(self)
    }

    /// Listens on a unix socket.
    pub fn unix(mut self, name: &str, path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path.parent().context("a path with a folder")?)?;
        self.sockets.push((name.to_owned(), UnixListener::bind(path)?.into()));
        Ok(self)
    }

    /// Starts the service's process with the sockets.
    pub fn start(&self, binary: &str, args: &[&str], log: &Path) -> Result<Process> {
        ensure!(self.sockets.len() <= MAX_SOCKETS, "more sockets than can be passed");
        let names: Vec<&str> = self.sockets.iter().map(|(name, _)| name.as_str()).collect();
        let env = [
            ("LISTEN_FDS", names.len().to_string()),
            ("LISTEN_FDNAMES", names.join(":")),
            ("NOTIFY_SOCKET", self.path.to_string_lossy().into_owned()),
            ("WATCHDOG_USEC", WATCHDOG_USEC.to_owned()),
        ];
        let sockets: Result<Vec<_>, _> = self.sockets.iter().map(|(_, socket)| socket.try_clone()).collect();
        Process::start_with_sockets((binary, args), &env, sockets?, log)
    }

    /// Returns the number of notifications so far that begin with this text.
    pub fn notifications(&self, beginning: &str) -> Result<usize> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffer = [0; 4096];
        loop {
            match self.notify.recv(&mut buffer) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                    said.extend(text.lines().map(str::to_owned));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(said.iter().filter(|line| line.starts_with(beginning)).count())
    }
}
