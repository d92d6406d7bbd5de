//! The record of one request, or of one connection that is passed through, from its beginning to its end.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body::Frame;
use tokio::time::Instant;
use webgateway_proto::feed::{AccessLine, MAX_LINE_TEXT};
use webgateway_proto::model::RouteId;

use super::cell::RouteCell;
use super::worker::WorkerStats;
use crate::access::{self, AccessLogEntry};
use crate::clock::unix_millis;

/// The head of a request, as far as access logs show it.
#[derive(Debug)]
pub(crate) struct RequestHead {
    /// The client's address.
    pub client: IpAddr,
    /// The host; empty for a connection that is passed through.
    pub host: String,
    /// The method; `None` for a connection that is passed through.
    pub method: Option<Method>,
    /// The path, without the query, which may be confidential.
    pub path: String,
    /// The id that the client gave the request.
    pub request_id: Option<String>,
}

/// The record of one request or connection. What happens to it is counted at once; its line in the access log is
/// written when the record is dropped.
#[derive(Debug)]
pub(crate) struct TrafficRecord {
    route: Option<RouteRecord>,
    started: Instant,
    /// Is true if a missing status means that the client went away.
    expects_response: bool,
    status: Cell<Option<StatusCode>>,
    error: Cell<Option<&'static str>>,
    received: Cell<u64>,
    sent: Cell<u64>,
    /// The head, if a log will have the line.
    head: Option<Box<RequestHead>>,
    /// Is true if the log of this process has a line.
    is_logged: bool,
}

/// The route of a record, and its counts.
#[derive(Debug)]
struct RouteRecord {
    stats: Rc<WorkerStats>,
    route: RouteId,
    cell: Rc<RouteCell>,
}

impl RequestHead {
    /// Returns the value of X-Request-Id.
    #[must_use]
    pub(crate) fn request_id(headers: &HeaderMap) -> Option<String> {
        let id = headers.get("x-request-id")?.to_str().ok()?;
        (!id.is_empty()).then(|| id.chars().take(MAX_LINE_TEXT).collect())
    }
}

impl TrafficRecord {
    fn new(expects_response: bool) -> Self {
        Self {
            route: None,
            started: Instant::now(),
            expects_response,
            status: Cell::default(),
            error: Cell::default(),
            received: Cell::default(),
            sent: Cell::default(),
            head: None,
            is_logged: false,
        }
    }

    /// Begins the record of a request whose route is not known yet.
    #[must_use]
    pub(crate) fn request() -> Self {
        Self::new(true)
    }

    /// Begins the record of a connection that is passed through.
    #[must_use]
    pub(crate) fn connection(stats: &Rc<WorkerStats>, route: RouteId, client: IpAddr) -> Self {
        let mut record = Self::new(false);
        let head = || RequestHead {
            client,
            host: String::new(),
            method: None,
            path: String::new(),
            request_id: None,
        };
        record.set_route(stats, route, head);
        if let Some(route) = &record.route {
            route.cell.count_connection();
        }
        record
    }

    /// Adds a line to the log of this process at the end of the record.
    pub(crate) fn log(&mut self, head: RequestHead) {
        (self.head, self.is_logged) = (Some(Box::new(head)), true);
    }

    /// Sets the route, to whose traffic the record belongs. `head` is called if somebody follows its access log.
    pub(crate) fn set_route(
        &mut self,
        stats: &Rc<WorkerStats>,
        route: RouteId,
        head: impl FnOnce() -> RequestHead,
    ) {
        let cell = stats.cell(route);
        if cell.is_followed.get() && self.head.is_none() {
            self.head = Some(Box::new(head()));
        }
        self.route = Some(RouteRecord { stats: Rc::clone(stats), route, cell });
    }

    /// Records the head of the response.
    pub(crate) fn answer(&self, status: StatusCode) {
        self.status.set(Some(status));
        if let Some(RouteRecord { cell, .. }) = &self.route {
            cell.count_response(status, self.started.elapsed());
        }
    }

    /// Records an error; `kind` is a proxy error type (RFC 9209 §2.3).
    pub(crate) fn fail(&self, kind: &'static str) {
        self.error.set(Some(kind));
        if let Some(RouteRecord { cell, .. }) = &self.route {
            cell.count_error(kind);
        }
    }

    /// Records bytes from the client.
    pub(crate) fn add_received(&self, bytes: u64) {
        self.received.set(self.received.get().saturating_add(bytes));
        if let Some(RouteRecord { cell, .. }) = &self.route {
            cell.add_received(bytes);
        }
    }

    /// Records bytes to the client.
    pub(crate) fn add_sent(&self, bytes: u64) {
        self.sent.set(self.sent.get().saturating_add(bytes));
        if let Some(RouteRecord { cell, .. }) = &self.route {
            cell.add_sent(bytes);
        }
    }

    /// Records a frame of a request's body.
    pub(crate) fn add_received_frame<E>(&self, frame: Option<&Result<Frame<Bytes>, E>>) {
        if let Some(Ok(frame)) = frame {
            self.add_received(data_len(frame));
        }
    }

    /// Records a frame of a response's body, or that the response is incomplete.
    pub(crate) fn add_sent_frame<E>(&self, frame: Option<&Result<Frame<Bytes>, E>>) {
        match frame {
            Some(Ok(frame)) => self.add_sent(data_len(frame)),
            Some(Err(_)) => self.fail("http_response_incomplete"),
            None => {}
        }
    }

    fn line(&self, head: &RequestHead) -> AccessLine {
        let cut = |text: &str| text.chars().take(MAX_LINE_TEXT).collect();
        AccessLine {
            at: unix_millis(),
            client: head.client,
            method: head.method.as_ref().map(|method| cut(method.as_str())).unwrap_or_default(),
            path: cut(&head.path),
            status: self.status.get().map(|status| status.as_u16()),
            error: self.error.get().map(str::to_owned),
            received: self.received.get(),
            sent: self.sent.get(),
            took: u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX),
            request_id: head.request_id.clone(),
        }
    }
}

fn data_len(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, |data| data.len() as u64)
}

impl Drop for TrafficRecord {
    fn drop(&mut self) {
        if let Some(RouteRecord { cell, .. }) = &self.route
            && self.expects_response
            && self.status.get().is_none()
        {
            cell.count_cancelled();
        }
        let Some(head) = &self.head else { return };
        if let Some(RouteRecord { stats, route, cell }) = &self.route
            && cell.is_followed.get()
        {
            stats.push_line(*route, || self.line(head));
        }
        if self.is_logged {
            access::log(&AccessLogEntry {
                client: head.client,
                host: &head.host,
                method: head.method.as_ref().map_or("", |method| method.as_str()),
                path: &head.path,
                status: self.status.get().map(|status| status.as_u16()),
                received: self.received.get(),
                sent: self.sent.get(),
                took: self.started.elapsed(),
            });
        }
    }
}
