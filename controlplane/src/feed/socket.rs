//! The unix socket for local nodes.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};

use thiserror::Error;
use tokio::net::unix::SocketAddr;
use tokio::net::{UnixListener, UnixStream};
use webgateway_process::accept::Listener;

/// The file mode: readable and writable only by the gateway's user and group.
const MODE: u32 = 0o660;

/// A listening unix socket. Its file is removed when it is dropped.
#[derive(Debug)]
pub(crate) struct FeedSocket {
    listener: UnixListener,
    /// The socket's file; `None` if systemd passed the socket and owns the file.
    _file: Option<SocketFile>,
}

/// The unix socket cannot be opened.
#[derive(Debug, Error)]
pub enum FeedSocketError {
    /// The socket's directory does not exist.
    #[error("`[feed] listen`: the directory {} does not exist: create it or name another path", .0.display())]
    NoDirectory(PathBuf),
    /// Another process listens on the socket.
    #[error("`[feed] listen`: another process listens on {}: stop it or name another path", .0.display())]
    Taken(PathBuf),
    /// The path is a file that is not a socket. The file is left unchanged.
    #[error("`[feed] listen`: {} exists and is not a socket: remove it or name another path", .0.display())]
    NotASocket(PathBuf),
    /// An operation of the system failed.
    #[error("`[feed] listen`: cannot listen on {}: {source}", path.display())]
    Io {
        /// The socket's path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

#[derive(Debug)]
struct SocketFile(PathBuf);

impl FeedSocket {
    /// Listens on `path`. A stale socket of a dead process is replaced. Returns an error if a process listens on it.
    pub(crate) fn bind(path: &Path) -> Result<Self, FeedSocketError> {
        let fail = |source| FeedSocketError::Io { path: path.to_owned(), source };
        let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
        if directory.is_some_and(|directory| !directory.is_dir()) {
            return Err(FeedSocketError::NoDirectory(directory.unwrap_or(path).to_owned()));
        }
        remove_stale(path)?;
        let listener = UnixListener::bind(path).map_err(fail)?;
        let file = SocketFile(path.to_owned());
        std::fs::set_permissions(path, PermissionsExt::from_mode(MODE)).map_err(fail)?;
        Ok(Self { listener, _file: Some(file) })
    }

    /// Listens on the socket `feed` that systemd passed.
    pub(crate) fn inherit(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
        Ok(Self { listener: UnixListener::from_std(listener)?, _file: None })
    }
}

impl Listener for FeedSocket {
    type Stream = UnixStream;
    type Address = SocketAddr;

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(UnixStream, SocketAddr)>> {
        self.listener.poll_accept(cx)
    }
}

fn remove_stale(path: &Path) -> Result<(), FeedSocketError> {
    let fail = |source| FeedSocketError::Io { path: path.to_owned(), source };
    let kind = match std::fs::symlink_metadata(path) {
        Ok(found) => found.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fail(error)),
    };
    if !kind.is_socket() {
        return Err(FeedSocketError::NotASocket(path.to_owned()));
    }
    match StdUnixStream::connect(path) {
        Ok(_) => Err(FeedSocketError::Taken(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(fail)
        }
        Err(error) => Err(fail(error)),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // The file may have been removed already.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_other_files_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("feed.sock");
        let first = FeedSocket::bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        let taken = FeedSocket::bind(&path).unwrap_err();
        assert!(matches!(taken, FeedSocketError::Taken(_)), "{taken}");
        drop(first);
        assert!(!path.exists(), "the file is removed with its socket");

        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "left behind, as by a crash");
        drop(FeedSocket::bind(&path).unwrap());

        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(FeedSocket::bind(&path), Err(FeedSocketError::NotASocket(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn the_error_names_the_missing_directory_and_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let error = FeedSocket::bind(&dir.path().join("none/feed.sock")).unwrap_err().to_string();
        assert!(error.contains("[feed] listen") && error.contains("none does not exist"), "{error}");
    }
}
