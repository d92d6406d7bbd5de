//! The accept loop of all listeners. It takes a permit before it accepts a connection, counts errors, and backs off
//! after errors of the process.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream, unix};
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};
use tracing::warn;

/// The pause after an error of this process, such as a lack of file descriptors.
const BACKOFF: Duration = Duration::from_millis(100);

/// The minimum time between two warnings of one listener, which may fail and recover many times a second.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// A listening socket.
pub trait Listener {
    /// The type of a connection.
    type Stream;
    /// The type of a peer's address.
    type Address;

    /// Accepts a connection.
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Stream, Self::Address)>>;
}

/// A limit on connections. The acceptor takes a permit before it accepts a connection, so that excess connections wait
/// in the kernel's queue.
pub trait Admission {
    /// The permit for one connection.
    type Permit;

    /// Waits for a permit. Returns `None` if there will never be another one.
    fn admit(&self) -> impl Future<Output = Option<Self::Permit>> + Send;
}

/// An admission without a limit, for listeners that limit connections by client after they are accepted.
#[derive(Debug, Clone, Copy)]
pub struct Unbounded;

/// An accept loop.
#[derive(Debug)]
pub struct Acceptor<L, A> {
    /// The listener's name in logs.
    pub name: &'static str,
    /// The listening socket.
    pub listener: L,
    /// The limit on its connections.
    pub admission: A,
    /// The counter of failed accepts.
    pub errors: Counter,
}

impl<L: Listener, A: Admission> Acceptor<L, A> {
    /// Passes every connection to `serve`. Runs until the future is dropped, or until the admission returns `None`.
    pub async fn run(self, mut serve: impl FnMut(L::Stream, L::Address, A::Permit)) {
        let mut last_warning: Option<Instant> = None;
        while let Some(permit) = self.admission.admit().await {
            match poll_fn(|cx| self.listener.poll_accept(cx)).await {
                Ok((stream, address)) => {
                    serve(stream, address, permit);
                }
                Err(error) => {
                    self.errors.inc();
                    if is_of_the_connection(&error) {
                        continue;
                    }
                    // The counter has the exact number.
                    if last_warning.is_none_or(|at| at.elapsed() >= WARNING_INTERVAL) {
                        warn!(listener = self.name, %error, "accept failed, retrying");
                        last_warning = Some(Instant::now());
                    }
                    sleep(BACKOFF).await;
                }
            }
        }
    }
}

/// Returns whether the error concerns only the connection to be accepted, and not this process.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::ConnectionRefused
            | Kind::Interrupted
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::TimedOut
            | Kind::WouldBlock
    )
}

impl Listener for TcpListener {
    type Stream = TcpStream;
    type Address = SocketAddr;

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        self.poll_accept(cx)
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;
    type Address = unix::SocketAddr;

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(UnixStream, unix::SocketAddr)>> {
        self.poll_accept(cx)
    }
}

/// Limits the connections to the permits of the semaphore.
impl Admission for Arc<Semaphore> {
    type Permit = OwnedSemaphorePermit;

    async fn admit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(self).acquire_owned().await.ok()
    }
}

/// Limits the connections to the capacity of the queue.
impl<T: Send> Admission for mpsc::Sender<T> {
    type Permit = OwnedPermit<T>;

    async fn admit(&self) -> Option<OwnedPermit<T>> {
        self.clone().reserve_owned().await.ok()
    }
}

impl Admission for Unbounded {
    type Permit = ();

    async fn admit(&self) -> Option<()> {
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    /// A listener that returns these errors first, and then connections.
    struct Faulty {
        errors: RefCell<Vec<io::Error>>,
        accepted: Cell<u64>,
    }

    impl Listener for Faulty {
        type Stream = u64;
        type Address = ();

        fn poll_accept(&self, _: &mut Context<'_>) -> Poll<io::Result<(u64, ())>> {
            match self.errors.borrow_mut().pop() {
                Some(error) => Poll::Ready(Err(error)),
                None if self.accepted.get() == 2 => Poll::Pending,
                None => Poll::Ready(Ok((self.accepted.replace(self.accepted.get() + 1), ()))),
            }
        }
    }

    fn acceptor<A>(errors: Vec<io::Error>, admission: A) -> Acceptor<Faulty, A> {
        let listener = Faulty { errors: RefCell::new(errors), accepted: Cell::new(0) };
        Acceptor { name: "test", listener, admission, errors: Counter::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn all_errors_are_counted_and_those_of_the_process_cause_a_pause() {
        const EMFILE: i32 = 24;
        let errors = vec![
            io::Error::from_raw_os_error(EMFILE),
            io::ErrorKind::ConnectionAborted.into(),
            io::Error::from_raw_os_error(EMFILE),
            io::ErrorKind::ConnectionReset.into(),
        ];
        let acceptor = acceptor(errors, Unbounded);
        let (counted, accepted) = (acceptor.errors.clone(), RefCell::new(Vec::new()));
        let began = tokio::time::Instant::now();
        let limit = Duration::from_secs(60);
        let ended = tokio::time::timeout(
            limit,
            acceptor.run(|n, (), ()| accepted.borrow_mut().push((n, began.elapsed()))),
        );
        assert!(ended.await.is_err(), "it never ends");
        assert_eq!(*accepted.borrow(), [(0, 2 * BACKOFF), (1, 2 * BACKOFF)]);
        assert_eq!(counted.get(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn no_connection_is_accepted_without_a_permit() {
        let room = Arc::new(Semaphore::new(1));
        let acceptor = acceptor(Vec::new(), Arc::clone(&room));
        let held = RefCell::new(Vec::new());
        let mut running = std::pin::pin!(acceptor.run(|_, (), permit| held.borrow_mut().push(permit)));
        let moment = Duration::from_millis(1);
        assert!(tokio::time::timeout(moment, running.as_mut()).await.is_err());
        assert_eq!(held.borrow().len(), 1);
        held.borrow_mut().clear();
        assert!(tokio::time::timeout(moment, running.as_mut()).await.is_err());
        assert_eq!(held.borrow().len(), 1, "the next one took the room that was given back");
        room.close();
        held.borrow_mut().clear();
        assert!(tokio::time::timeout(moment, running).await.is_ok(), "it ends with its admission");
    }
}
