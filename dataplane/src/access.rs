//! The access log: one event per request, off by default.

use std::net::IpAddr;
use std::time::Duration;

/// A request in the access log.
#[derive(Debug)]
pub(crate) struct AccessLogEntry<'a> {
    /// The client's address.
    pub client: IpAddr,
    /// The host of the request.
    pub host: &'a str,
    /// The method.
    pub method: &'a str,
    /// The path, without the query, which may be confidential.
    pub path: &'a str,
    /// The status of the response; `None` if the client went away before there was one.
    pub status: Option<u16>,
    /// The bytes of the request's body, or from the client through the tunnel.
    pub received: u64,
    /// The bytes of the response's body, or to the client through the tunnel.
    pub sent: u64,
    /// The time from the request's head to the end of the response.
    pub took: Duration,
}

/// Logs a request.
pub(crate) fn log(entry: &AccessLogEntry<'_>) {
    tracing::info!(
        target: "access",
        client = %entry.client,
        host = entry.host,
        method = entry.method,
        path = entry.path,
        status = entry.status,
        received = entry.received,
        sent = entry.sent,
        took_us = u64::try_from(entry.took.as_micros()).unwrap_or(u64::MAX),
    );
}
