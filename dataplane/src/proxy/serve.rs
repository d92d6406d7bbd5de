//! The HTTP/1.1 and HTTP/2 servers: they drive a client's connection until it ends, stalls, or is shut down.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use http::{HeaderValue, Response, header};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::HttpService;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{Instrument, Span, debug};
use webgateway_process::client_io::{ClientIo, Protocol};
use webgateway_process::{LocalTasks, StrictHttp};

use crate::config::Limits;
use crate::connections::{LINGER, Phase};
use crate::context::ConnectionContext;
use crate::http::body::ResponseBody;
use crate::http::exchange::{CANCEL_BURST, Progress};
use crate::metrics::Refusal;
use crate::trailers::TrailerIo;

/// The flow-control window of a stream, in bytes. The window of a connection is the sum of those of its streams, so
/// that an upload to a slow backend does not delay the others.
const STREAM_WINDOW: u32 = 128 * 1024;
/// The maximum size of a window (RFC 9113 §6.9.1).
const MAX_WINDOW: u32 = (1 << 31) - 1;
/// The maximum size of a stream's buffered output, in bytes. It exceeds the backlog of a response.
const SEND_BUFFER: usize = 128 * 1024;
/// The maximum size of the read buffer of HTTP/1.1, in bytes, unless heads may be larger.
const READ_BUFFER: usize = 64 * 1024;
/// The maximum number of streams per connection that are reset because of errors of the client (CVE-2025-8671).
const MAX_LOCAL_RESETS: usize = 1024;

/// Serves HTTP/1.1 on a connection. `service` must begin an exchange of the connection's [`Progress`] for each request.
pub(crate) async fn serve_http1<I, S>(connection: &ConnectionContext, io: I, service: S)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: HttpService<Incoming, ResBody = ResponseBody, Error = Infallible>,
{
    let client = connection.progress.client();
    let io = ClientIo::new(io, Protocol::Http1, Arc::clone(client));
    let io = StrictHttp::new(io, Arc::clone(client));
    let io = TokioIo::new(TrailerIo::new(io, connection.progress.trailers().clone()));
    let http1 = http1_builder(&connection.worker.limits).serve_connection(io, service);
    report_end(drive(pin!(http1.with_upgrades()), connection).await, connection);
}

/// Serves HTTP/2 on a connection. `service` must begin an exchange of the connection's [`Progress`] for each request.
pub(crate) async fn serve_http2<I, S>(connection: &ConnectionContext, io: I, service: S)
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
    S: HttpService<Incoming, ResBody = ResponseBody, Error = Infallible>,
    S::Future: 'static,
{
    let worker = &connection.worker;
    let streams = StreamExecutor { tasks: worker.tasks.clone(), span: Span::current() };
    let io = ClientIo::new(io, Protocol::Http2, Arc::clone(connection.progress.client()));
    let http2 = http2_builder(&worker.limits, streams).serve_connection(TokioIo::new(io), service);
    report_end(drive(pin!(http2), connection).await, connection);
}

fn report_end(result: hyper::Result<()>, connection: &ConnectionContext) {
    if let Err(error) = result {
        debug!(%error, "connection failed");
        if error.is_parse() {
            connection.worker.metrics.count_refusal(Refusal::NotHttp);
        }
    }
}

/// Sets `Connection: close` in an HTTP/1 response if the connection is closing.
pub(crate) fn mark_last(response: &mut Response<ResponseBody>, phase: Phase) {
    if phase > Phase::Open {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

/// Returns the HTTP/1.1 server configuration with the limits of this node.
///
/// A limit on fields other than the parser's default costs two allocations per head, about 50 ns. With it, a head that
/// is accepted over HTTP/2 is accepted over HTTP/1.1 too. [`drive`] bounds the time for a request head, without a timer
/// for each.
pub(super) fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .half_close(true)
        .max_header_size(limits.head_size())
        .max_headers(limits.head_fields())
        .max_buf_size(limits.head_size().max(READ_BUFFER));
    builder
}

fn http2_builder(limits: &Limits, streams: StreamExecutor) -> http2::Builder<StreamExecutor> {
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(limits.header_bytes)
        // Streams that a client resets before they are accepted; [`Progress::is_flooding`] bounds their rate.
        .max_pending_accept_reset_streams(CANCEL_BURST as usize)
        .max_local_error_reset_streams(MAX_LOCAL_RESETS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(limits.streams.saturating_mul(STREAM_WINDOW).min(MAX_WINDOW))
        // No keep-alive pings, because their acknowledgements wait behind output that the client has not read. Instead,
        // [`drive`] observes the client's progress, and TCP keepalive detects an unreachable client.
        .max_send_buf_size(SEND_BUFFER);
    builder
}

/// Drives a connection to its end. The caller pins it, because a future passed by value would occupy its space twice.
async fn drive<C: GracefulShutdown>(
    mut connection: Pin<&mut C>,
    ConnectionContext { worker, progress, membership, .. }: &ConnectionContext,
) -> hyper::Result<()> {
    let (watch, limits) = (membership.watch(), &worker.limits);
    let mut leaving = pin!(watch.reaches(Phase::Leaving));
    let mut draining = pin!(watch.reaches(Phase::Draining));
    let mut cut = pin!(watch.reaches(Phase::Cut));
    // The number of requests at the time the connection was asked to close: the next request is the last.
    let mut count_at_leave: Option<u64> = None;
    let (mut lingering, mut ending) = (false, false);
    let mut tick = interval(limits.stall_timeout.min(limits.header_timeout) / 4);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            ended = &mut connection => return ended,
            () = &mut cut => return Ok(()),
            () = poll_fn(|_| {
                progress.update_backlog();
                ready_if(progress.is_flooding() || progress.is_cut())
            }) => {
                debug!(flooding = progress.is_flooding(), stalled = progress.is_cut(), "connection cut");
                return Ok(());
            }
            () = &mut leaving, if count_at_leave.is_none() => count_at_leave = Some(progress.request_count()),
            // No waker is needed: requests only begin while the connection is polled, just before this.
            () = poll_fn(|_| has_last_request(count_at_leave, progress)), if !ending => {
                connection.as_mut().graceful_shutdown();
                ending = true;
            }
            () = &mut draining, if !lingering => {
                tick.reset_after(LINGER);
                lingering = true;
            }
            _ = tick.tick() => {
                let now = Instant::now();
                // Output may move from buffer to socket without a read from the backend, so it counts as progress.
                if progress.client().take_written() {
                    progress.record_progress();
                }
                if progress.is_idle() {
                    let stalled = progress.is_stalled(now, limits.header_timeout);
                    if stalled && ending {
                        return Ok(());
                    }
                    if (stalled || lingering) && !ending {
                        connection.as_mut().graceful_shutdown();
                        ending = true;
                    }
                } else if progress.is_stalled(now, limits.stall_timeout) || progress.is_abandoned(now) {
                    debug!("client stalled or disconnected");
                    return Ok(());
                }
            }
        }
    }
}

/// Returns `Ready` once the last request has begun, but not while an upgrade request waits for its response: a graceful
/// shutdown would add `Connection: close` to the 101.
fn has_last_request(count_at_leave: Option<u64>, progress: &Progress) -> Poll<()> {
    if progress.is_upgrading() {
        return Poll::Pending;
    }
    let has_begun =
        count_at_leave.is_some_and(|count| !progress.is_idle() || progress.request_count() > count);
    ready_if(has_begun)
}

fn ready_if(condition: bool) -> Poll<()> {
    if condition { Poll::Ready(()) } else { Poll::Pending }
}

/// A connection that can be asked to close after the requests in flight.
trait GracefulShutdown: Future<Output = hyper::Result<()>> {
    fn graceful_shutdown(self: Pin<&mut Self>);
}

impl<I, S> GracefulShutdown for http1::UpgradeableConnection<I, S>
where
    S: HttpService<Incoming, ResBody = ResponseBody, Error = Infallible>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        http1::UpgradeableConnection::graceful_shutdown(self);
    }
}

impl<I, S> GracefulShutdown for http2::Connection<I, S, StreamExecutor>
where
    S: HttpService<Incoming, ResBody = ResponseBody, Error = Infallible>,
    S::Future: 'static,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        http2::Connection::graceful_shutdown(self);
    }
}

/// An executor that runs HTTP/2 streams on this worker, within the span of their connection.
#[derive(Debug, Clone)]
struct StreamExecutor {
    tasks: LocalTasks,
    span: Span,
}

impl<F: Future + 'static> Executor<F> for StreamExecutor
where
    F::Output: 'static,
{
    fn execute(&self, stream: F) {
        if self.span.is_disabled() {
            self.tasks.spawn("http2 stream", stream);
        } else {
            self.tasks.spawn("http2 stream", stream.instrument(self.span.clone()));
        }
    }
}
