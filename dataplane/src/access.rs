//! The access log: one event per request, off by default.

use std::net::IpAddr;
use std::time::Duration;

use http::{Method, StatusCode};

/// A request in the access log.
#[derive(Debug)]
pub(crate) struct AccessLogEntry<'a> {
    /// The client's address.
    pub client: IpAddr,
    /// The host of the request.
    pub host: &'a str,
    /// The method.
    pub method: &'a Method,
    /// The path, without the query, which may be confidential.
    pub path: &'a str,
    /// The status of the response.
    pub status: StatusCode,
    /// The time from the request to the response head.
    pub took: Duration,
}

/// Logs a request.
pub(crate) fn log(entry: &AccessLogEntry<'_>) {
    tracing::info!(
        target: "access",
        client = %entry.client,
        host = entry.host,
        method = %entry.method,
        path = entry.path,
        status = entry.status.as_u16(),
        took_us = u64::try_from(entry.took.as_micros()).unwrap_or(u64::MAX),
    );
}
