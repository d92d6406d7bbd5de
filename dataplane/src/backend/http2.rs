//! A connection to a backend that speaks HTTP/2, which concurrent requests share.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Waker};

use http_body::Body;
use hyper::client::conn::http2::{self, Connection, SendRequest};
use hyper::rt::Executor;
use hyper::rt::bounds::Http2ClientConnExec;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::trace;
use webgateway_process::LocalTasks;

use super::dial::DialError;
use crate::config::Limits;

/// The maximum number of concurrent streams on a connection, even if the backend allows more.
const MAX_STREAMS: usize = 128;
/// The flow-control window of a stream, in bytes: the maximum that a client which does not read can leave in the
/// worker's memory, besides its backlog.
pub(super) const STREAM_WINDOW: u32 = 256 * 1024;
/// The flow-control window of a connection, in bytes: the sum of those of its streams, so that responses which are not
/// read do not delay the others.
const CONNECTION_WINDOW: u32 = MAX_STREAMS as u32 * STREAM_WINDOW;
/// The maximum size of a stream's buffered output, in bytes: an upload is not read further than that before the backend
/// takes it.
const SEND_BUFFER: usize = 64 * 1024;

/// A connection to a backend. `B` is the type of request bodies.
pub(crate) struct Http2Connection<B> {
    sender: SendRequest<B>,
    state: Rc<ConnectionState>,
}

/// The state that a connection shares with its tasks and its streams.
#[derive(Debug)]
struct ConnectionState {
    /// The number of concurrent streams that the backend allows; 0 until its settings have arrived.
    allowed: Cell<usize>,
    /// The number of open streams.
    open: Cell<usize>,
    /// Is true if no more streams are opened.
    is_retired: Cell<bool>,
    /// The time at which the last stream ended.
    idle_since: Cell<Instant>,
    /// The time of the last sign of life of the backend.
    last_response: Cell<Instant>,
    /// The task that sends requests, while it waits for the settings.
    sending: RefCell<Option<Waker>>,
    settled: Notify,
}

/// A permit for one stream of a connection. When it is dropped, another request may take its place.
pub(crate) struct StreamPermit<B> {
    connection: Rc<Http2Connection<B>>,
    /// The wakeup of a request that waits for a stream.
    freed: Rc<Notify>,
}

/// An executor of a connection's tasks on this worker.
#[derive(Clone)]
struct ConnectionTasks {
    tasks: LocalTasks,
    state: Rc<ConnectionState>,
}

impl<B> Http2Connection<B>
where
    B: Body + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Begins HTTP/2 on a new connection; resolves once the settings of the backend have arrived (RFC 9113 §3.4), which
    /// shows that it speaks HTTP/2.
    pub(crate) async fn begin<I>(tasks: &LocalTasks, io: I, limits: &Limits) -> Result<Self, DialError>
    where
        I: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let state = Rc::new(ConnectionState::new());
        let executor = ConnectionTasks { tasks: tasks.clone(), state: Rc::clone(&state) };
        let mut builder = http2::Builder::new(executor);
        builder
            .initial_max_send_streams(0)
            .max_header_list_size(limits.header_bytes)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER);
        let begun = builder.handshake(TokioIo::new(io)).await;
        let (sender, connection) = begun.map_err(|_| DialError::NoHttp2)?;
        tasks.spawn("backend connection", send_requests(connection, Rc::clone(&state)));
        while state.allowed.get() == 0 {
            if state.is_retired.get() {
                return Err(DialError::NoHttp2);
            }
            state.settled.notified().await;
        }
        Ok(Self { sender, state })
    }
}

impl<B> Http2Connection<B> {
    /// Takes a permit for a stream; `None` if the connection takes no more now.
    pub(super) fn permit(self: &Rc<Self>, freed: &Rc<Notify>) -> Option<StreamPermit<B>> {
        let state = &self.state;
        if self.is_ended() || state.open.get() >= state.allowed.get().min(MAX_STREAMS) {
            return None;
        }
        state.open.set(state.open.get() + 1);
        Some(StreamPermit { connection: Rc::clone(self), freed: Rc::clone(freed) })
    }

    /// Returns whether the connection takes no more streams, ever.
    pub(super) fn is_ended(&self) -> bool {
        self.state.is_retired.get() || self.sender.is_closed()
    }

    /// Returns the time since which the connection has no streams; `None` if it has some.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        (self.state.open.get() == 0).then(|| self.state.idle_since.get())
    }
}

impl<B> StreamPermit<B> {
    /// Returns the sender of the request.
    pub(crate) fn sender(&self) -> SendRequest<B> {
        self.connection.sender.clone()
    }

    /// Records that the backend has responded.
    pub(crate) fn record_response(&self) {
        self.connection.state.last_response.set(Instant::now());
    }

    /// Returns whether the backend has responded on the connection since `time`.
    pub(crate) fn has_responded_since(&self, time: Instant) -> bool {
        self.connection.state.last_response.get() >= time
    }

    /// Makes the connection take no more streams. The open ones go on.
    pub(crate) fn retire(&self) {
        self.connection.state.is_retired.set(true);
    }
}

impl<B> Drop for StreamPermit<B> {
    fn drop(&mut self) {
        let state = &self.connection.state;
        state.open.set(state.open.get().saturating_sub(1));
        if state.open.get() == 0 {
            state.idle_since.set(Instant::now());
        }
        self.freed.notify_one();
    }
}

impl ConnectionState {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            allowed: Cell::new(0),
            open: Cell::new(0),
            is_retired: Cell::new(false),
            idle_since: Cell::new(now),
            last_response: Cell::new(now),
            sending: RefCell::default(),
            settled: Notify::new(),
        }
    }

    fn set_allowed(&self, allowed: usize) {
        if self.allowed.replace(allowed) == 0 && allowed > 0 {
            self.settled.notify_one();
        }
    }
}

/// Drives the sending of requests until the connection ends, and follows the number of streams that the backend allows.
async fn send_requests<I, B>(mut connection: Connection<I, B, ConnectionTasks>, state: Rc<ConnectionState>)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
    B: Body + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    ConnectionTasks: Http2ClientConnExec<B, I>,
{
    let ended = poll_fn(|cx| {
        let polled = Pin::new(&mut connection).poll(cx);
        state.set_allowed(connection.current_max_send_streams());
        if state.allowed.get() == 0 {
            state.sending.replace(Some(cx.waker().clone()));
        }
        polled
    })
    .await;
    if let Err(error) = ended {
        trace!(%error, "backend connection ended");
    }
    state.is_retired.set(true);
    state.settled.notify_one();
}

impl<F: Future + 'static> Executor<F> for ConnectionTasks {
    fn execute(&self, task: F) {
        if self.state.allowed.get() > 0 {
            return self.tasks.spawn("backend stream", task);
        }
        // The first task reads the settings, which only the task that sends requests can see.
        let state = Rc::clone(&self.state);
        self.tasks.spawn("backend connection", async move {
            let mut task = pin!(task);
            poll_fn(|cx: &mut Context<'_>| {
                let polled = task.as_mut().poll(cx);
                if let Some(sending) = state.sending.take() {
                    sending.wake();
                }
                polled.map(drop)
            })
            .await;
        });
    }
}

impl<B> fmt::Debug for Http2Connection<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Http2Connection").field(&self.state).finish()
    }
}

impl<B> fmt::Debug for StreamPermit<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StreamPermit").field(&self.connection.state).finish()
    }
}
