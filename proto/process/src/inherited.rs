//! Socket activation: listeners that systemd holds, which survive a restart with their pending connections.
//!
//! sd-notify lists the sockets. This module determines their kinds; an unused socket is an error. listenfd has no
//! names.

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Domain, Socket, Type};
use thiserror::Error;

/// The sockets passed by systemd (sd_listen_fds(3)) that are not taken yet, each with its `FileDescriptorName`.
#[derive(Debug, Default)]
pub struct InheritedSockets(Vec<(String, Socket)>);

/// A socket passed by systemd that cannot be used.
#[derive(Debug, Error)]
pub enum InheritedError {
    /// The environment variables are inconsistent, or name a descriptor that is not open.
    #[error("LISTEN_FDS and LISTEN_FDNAMES do not match the sockets that systemd passes: {0}")]
    Variables(io::Error),
    /// No listener of this process has the socket's name.
    #[error(
        "systemd passes a socket named `{name}`, which this process does not know: set FileDescriptorName= in its \
         .socket unit to one of: {known}"
    )]
    Unknown {
        /// The socket's name.
        name: String,
        /// The known names.
        known: String,
    },
    /// The socket has another kind than required.
    #[error("the socket `{name}` that systemd passes is {found}, but must be {wanted}")]
    Kind {
        /// The socket's name.
        name: String,
        /// The actual kind.
        found: &'static str,
        /// The required kind.
        wanted: &'static str,
    },
    /// Several sockets have the name of a single one.
    #[error("systemd passes several sockets named `{name}` that are {kind}, but only one is allowed")]
    Several {
        /// The name of the sockets.
        name: String,
        /// The kind of the sockets.
        kind: &'static str,
    },
    /// The kind of a socket cannot be determined.
    #[error("the socket `{name}` that systemd passes cannot be used: {source}")]
    Io {
        /// The socket's name.
        name: String,
        /// The system's error.
        source: io::Error,
    },
}

/// The kind of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tcp,
    Udp,
    Unix,
    Other,
}

impl InheritedSockets {
    /// Takes the sockets that systemd passes to this process. Later calls, and those without systemd, return none.
    ///
    /// Must be called before the process opens files. A name that is not in `known` is an error.
    pub fn take(known: &[&str]) -> Result<Self, InheritedError> {
        static TAKEN: AtomicBool = AtomicBool::new(false);
        if TAKEN.swap(true, Ordering::Relaxed) {
            return Ok(Self::default());
        }
        let passed = sd_notify::listen_fds_with_names().map_err(InheritedError::Variables)?;
        #[expect(
            unsafe_code,
            reason = "a number becomes the descriptor that systemd opened for this process"
        )]
        // SAFETY: the descriptor is open, because sd-notify has set FD_CLOEXEC on it, and nothing else owns it, because
        // this code runs once.
        let owned = passed.map(|(fd, name)| (name, unsafe { OwnedFd::from_raw_fd(fd) }));
        Self::from_named(owned.map(|(name, fd)| (name, Socket::from(fd))).collect(), known)
    }

    fn from_named(sockets: Vec<(String, Socket)>, known: &[&str]) -> Result<Self, InheritedError> {
        match sockets.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => Err(InheritedError::Unknown { name: name.clone(), known: known.join(", ") }),
            None => Ok(Self(sockets)),
        }
    }

    /// Takes the TCP listeners with this name, in non-blocking mode.
    pub fn tcp(&mut self, name: &str) -> Result<Vec<TcpListener>, InheritedError> {
        Ok(self.of(name, Kind::Tcp)?.into_iter().map(TcpListener::from).collect())
    }

    /// Takes the unix stream listeners with this name, in non-blocking mode.
    pub fn unix(&mut self, name: &str) -> Result<Vec<UnixListener>, InheritedError> {
        Ok(self.of(name, Kind::Unix)?.into_iter().map(UnixListener::from).collect())
    }

    /// Takes the UDP sockets with this name, in non-blocking mode.
    pub fn udp(&mut self, name: &str) -> Result<Vec<UdpSocket>, InheritedError> {
        Ok(self.of(name, Kind::Udp)?.into_iter().map(UdpSocket::from).collect())
    }

    /// Fails if a socket with this name is left, which then has the wrong kind.
    pub fn none_left(&self, name: &str, wanted: &'static str) -> Result<(), InheritedError> {
        let Some((name, socket)) = self.0.iter().find(|(found, _)| found == name) else { return Ok(()) };
        Err(InheritedError::Kind { name: name.clone(), found: kind_of(name, socket)?.described(), wanted })
    }

    fn of(&mut self, name: &str, kind: Kind) -> Result<Vec<Socket>, InheritedError> {
        let (mut found, mut left) = (Vec::new(), Vec::new());
        for (its, socket) in std::mem::take(&mut self.0) {
            if its == name && kind_of(name, &socket)? == kind {
                let unusable = |source| InheritedError::Io { name: its.clone(), source };
                socket.set_nonblocking(true).map_err(unusable)?;
                found.push(socket);
            } else {
                left.push((its, socket));
            }
        }
        self.0 = left;
        Ok(found)
    }
}

/// Returns the only socket, if there is one; several are an error.
pub fn at_most_one<T>(
    name: &str,
    kind: &'static str,
    mut sockets: Vec<T>,
) -> Result<Option<T>, InheritedError> {
    let last = sockets.pop();
    if sockets.is_empty() { Ok(last) } else { Err(InheritedError::Several { name: name.to_owned(), kind }) }
}

impl Kind {
    fn described(self) -> &'static str {
        match self {
            Self::Tcp => "a TCP listener",
            Self::Udp => "a UDP socket",
            Self::Unix => "a unix stream listener",
            Self::Other => "no listener of a supported kind",
        }
    }
}

fn kind_of(name: &str, socket: &Socket) -> Result<Kind, InheritedError> {
    let asked = || {
        let internet = matches!(socket.domain()?, Domain::IPV4 | Domain::IPV6);
        let unix = socket.domain()? == Domain::UNIX;
        let listens = socket.is_listener()?;
        Ok(match socket.r#type()? {
            Type::STREAM if internet && listens => Kind::Tcp,
            Type::STREAM if unix && listens => Kind::Unix,
            Type::DGRAM if internet => Kind::Udp,
            _ => Kind::Other,
        })
    };
    asked().map_err(|source| InheritedError::Io { name: name.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp() -> Socket {
        TcpListener::bind("127.0.0.1:0").unwrap().into()
    }

    fn udp() -> Socket {
        UdpSocket::bind("127.0.0.1:0").unwrap().into()
    }

    fn unlistening() -> Socket {
        Socket::new(Domain::IPV6, Type::STREAM, None).unwrap()
    }

    fn passed(sockets: Vec<(&str, Socket)>) -> Result<InheritedSockets, InheritedError> {
        let named = sockets.into_iter().map(|(name, socket)| (name.to_owned(), socket));
        InheritedSockets::from_named(named.collect(), &["https", "dns"])
    }

    #[test]
    fn each_socket_is_found_by_its_name_and_kind() {
        let mut inherited =
            passed(vec![("https", tcp()), ("dns", tcp()), ("dns", udp()), ("https", tcp())]).unwrap();
        assert_eq!(inherited.tcp("https").unwrap().len(), 2);
        assert_eq!(inherited.udp("dns").unwrap().len(), 1);
        assert!(inherited.none_left("https", "a TCP listener").is_ok());
        let left = inherited.none_left("dns", "a UDP socket").unwrap_err().to_string();
        assert_eq!(left, "the socket `dns` that systemd passes is a TCP listener, but must be a UDP socket");
        assert_eq!(
            at_most_one("dns", "TCP listeners", inherited.tcp("dns").unwrap()).unwrap().iter().count(),
            1
        );
        assert!(inherited.tcp("https").unwrap().is_empty());
    }

    #[test]
    fn an_unused_socket_is_rejected_by_name() {
        let unknown = passed(vec![("webgateway.socket", tcp())]).unwrap_err().to_string();
        for part in ["`webgateway.socket`", "FileDescriptorName=", "https, dns"] {
            assert!(unknown.contains(part), "{unknown}");
        }
        let mut inherited = passed(vec![("https", unlistening())]).unwrap();
        assert!(inherited.tcp("https").unwrap().is_empty());
        let error = inherited.none_left("https", "a TCP listener").unwrap_err().to_string();
        assert!(error.contains("`https`") && error.contains("no listener"), "{error}");
        let several = at_most_one("rpc", "TCP listeners", vec![1, 2]).unwrap_err().to_string();
        assert!(several.contains("several sockets named `rpc`"), "{several}");
    }
}
