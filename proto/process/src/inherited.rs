//! Sockets that the service manager holds: they outlive the process, and so do the connections that wait in them.
//!
//! sd-notify finds them; here each gets a kind, and one that nothing listens on is an error. listenfd knows no names.

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Domain, Socket, Type};
use thiserror::Error;

/// Sockets passed by systemd (sd_listen_fds(3)) and not taken yet, each with its `FileDescriptorName`.
#[derive(Debug, Default)]
pub struct InheritedSockets(Vec<(String, Socket)>);

/// The sockets that systemd passes cannot be used.
#[derive(Debug, Error)]
pub enum InheritedError {
    /// The variables contradict each other, or name what is not open.
    #[error("LISTEN_FDS and LISTEN_FDNAMES do not say what systemd passes: {0}")]
    Variables(io::Error),
    /// A socket has a name that nothing here listens on.
    #[error(
        "systemd passes a socket named `{name}`, which nothing here listens on: its .socket unit needs \
         FileDescriptorName= and one of: {known}"
    )]
    Unknown {
        /// The socket's name.
        name: String,
        /// The names that are known.
        known: String,
    },
    /// A socket is of another kind.
    #[error("the socket `{name}` that systemd passes is {found}, and has to be {wanted}")]
    Kind {
        /// The socket's name.
        name: String,
        /// The kind that it is of.
        found: &'static str,
        /// The kind that it has to be of.
        wanted: &'static str,
    },
    /// There is more than one socket where there can be but one.
    #[error("systemd passes several sockets named `{name}` that are {kind}, and there can be but one")]
    Several {
        /// The sockets' name.
        name: String,
        /// The kind that they are of.
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
    /// Takes all that systemd passes to this process, once; afterwards, and without systemd, there is none.
    ///
    /// Call it first in `main`: what else opens files must not come before. A name that is not in `known` is an error.
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
        // SAFETY: it is open, or setting FD_CLOEXEC would have failed, and nobody else owns it: this is done once.
        let owned = passed.map(|(fd, name)| (name, unsafe { OwnedFd::from_raw_fd(fd) }));
        Self::from_named(owned.map(|(name, fd)| (name, Socket::from(fd))).collect(), known)
    }

    fn from_named(sockets: Vec<(String, Socket)>, known: &[&str]) -> Result<Self, InheritedError> {
        match sockets.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => Err(InheritedError::Unknown { name: name.clone(), known: known.join(", ") }),
            None => Ok(Self(sockets)),
        }
    }

    /// Takes the TCP listeners of this name, not blocking.
    pub fn tcp(&mut self, name: &str) -> Result<Vec<TcpListener>, InheritedError> {
        Ok(self.of(name, Kind::Tcp)?.into_iter().map(TcpListener::from).collect())
    }

    /// Takes the unix stream listeners of this name, not blocking.
    pub fn unix(&mut self, name: &str) -> Result<Vec<UnixListener>, InheritedError> {
        Ok(self.of(name, Kind::Unix)?.into_iter().map(UnixListener::from).collect())
    }

    /// Takes the UDP sockets of this name, not blocking.
    pub fn udp(&mut self, name: &str) -> Result<Vec<UdpSocket>, InheritedError> {
        Ok(self.of(name, Kind::Udp)?.into_iter().map(UdpSocket::from).collect())
    }

    /// Fails if a socket of this name is left: nobody listens on sockets of its kind.
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

/// Returns the one there is, if there is one.
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
            Self::Other => "no listener of a kind known here",
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
    fn each_is_found_by_its_name_and_kind() {
        let mut inherited =
            passed(vec![("https", tcp()), ("dns", tcp()), ("dns", udp()), ("https", tcp())]).unwrap();
        assert_eq!(inherited.tcp("https").unwrap().len(), 2);
        assert_eq!(inherited.udp("dns").unwrap().len(), 1);
        assert!(inherited.none_left("https", "a TCP listener").is_ok());
        let left = inherited.none_left("dns", "a UDP socket").unwrap_err().to_string();
        assert_eq!(
            left,
            "the socket `dns` that systemd passes is a TCP listener, and has to be a UDP socket"
        );
        assert_eq!(
            at_most_one("dns", "TCP listeners", inherited.tcp("dns").unwrap()).unwrap().iter().count(),
            1
        );
        assert!(inherited.tcp("https").unwrap().is_empty());
    }

    #[test]
    fn what_nobody_listens_on_is_refused_by_name() {
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
