//! The limits of sizes, numbers and times.

use std::time::Duration;

use serde::Deserialize;

use super::error::{ConfigError, within};

/// The bytes that HTTP/2 counts for a field in addition to its name and value (RFC 9113 §6.5.2).
const FIELD_OVERHEAD: usize = 32;
/// The maximum number of fields in a head, somewhat below the capacity of `http::HeaderMap`.
const MAX_FIELDS: usize = 16_384;

/// The limits in the configuration, each for one worker or one connection.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The maximum number of open connections per worker.
    pub connections: usize,
    /// The time to receive a complete ClientHello.
    #[serde(with = "humantime_serde")]
    pub hello_timeout: Duration,
    /// The time for the rest of the TLS handshake.
    #[serde(with = "humantime_serde")]
    pub handshake_timeout: Duration,
    /// The time to receive a request head, also the time between two requests.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// The maximum size of the head of a request, or of a backend's response, in bytes.
    pub header_bytes: u32,
    /// The time without progress while the gateway waits for the client to send or read.
    #[serde(with = "humantime_serde")]
    pub stall_timeout: Duration,
    /// The maximum size of the responses that wait for their clients to read, per worker, in bytes. Beyond it, those
    /// that wait longest are cut.
    pub backlog_bytes: usize,
    /// The maximum number of concurrent HTTP/2 streams per connection.
    pub streams: u32,
    /// The time to connect to a backend.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// The time for a backend's host to acknowledge sent data (TCP_USER_TIMEOUT).
    #[serde(with = "humantime_serde")]
    pub ack_timeout: Duration,
    /// The time for a backend's response head.
    #[serde(with = "humantime_serde")]
    pub response_timeout: Duration,
    /// The time without a byte of a backend's response body.
    #[serde(with = "humantime_serde")]
    pub backend_timeout: Duration,
    /// The time that an idle backend connection stays in the pool, shorter than the keep-alive of backends, whose
    /// shortest common default is 5 s.
    #[serde(with = "humantime_serde")]
    pub backend_idle: Duration,
    /// The time without a byte in either direction of a tunnel.
    #[serde(with = "humantime_serde")]
    pub tunnel_timeout: Duration,
    /// The time for the connections of a deleted route to finish, or for all connections when the process stops.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
}

/// The minimum of every timeout.
const MIN_TIME: Duration = Duration::from_millis(10);
/// The maximum of every timeout.
const MAX_TIME: Duration = Duration::from_secs(30 * 24 * 3600);
/// The maximum size of a ClientHello including its record headers, in bytes.
pub(crate) const HELLO_BYTES: usize = 64 * 1024;
/// The time to receive the body of an API request.
pub(crate) const API_BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum memory for the bodies of API requests that are being received, in bytes.
pub(crate) const API_RECEIVED: usize = 32 * 1024 * 1024;
/// The maximum memory for the complete bodies of API requests, in bytes.
pub(crate) const API_BODIES: usize = 32 * 1024 * 1024;
/// The maximum memory for API responses that clients are reading, in bytes.
pub(crate) const API_ANSWERS: usize = 64 * 1024 * 1024;
/// The time for a client to read an API response.
pub(crate) const API_READ_TIMEOUT: Duration = Duration::from_secs(120);
/// The maximum size of an API response, in bytes: the maximum that gwctl accepts, and room for the head.
pub(crate) const API_ANSWER: usize = 17 * 1024 * 1024;
/// The time for the controlplane to answer an API request.
pub(crate) const API_TIMEOUT: Duration = Duration::from_secs(30);
/// The maximum number of idle connections per backend and worker. Large, so that those of a burst can be reused; they
/// stay in the pool for a few seconds only.
pub(crate) const POOL_PER_BACKEND: usize = 1024;

impl Limits {
    /// Returns the maximum size of a head in HTTP/1.1, in bytes.
    #[must_use]
    pub(crate) fn head_size(&self) -> usize {
        usize::try_from(self.header_bytes).unwrap_or(usize::MAX)
    }

    /// Returns the maximum number of fields in a head, for HTTP/1.1 too: the number of empty fields that HTTP/2 allows
    /// in a head of the maximum size, as it counts 32 bytes for each (RFC 9113 §6.5.2).
    #[must_use]
    pub(crate) fn head_fields(&self) -> usize {
        (self.head_size() / FIELD_OVERHEAD).min(MAX_FIELDS)
    }

    /// Checks that every limit is within its range.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let timeouts = [
            ("hello_timeout", self.hello_timeout),
            ("handshake_timeout", self.handshake_timeout),
            ("header_timeout", self.header_timeout),
            ("stall_timeout", self.stall_timeout),
            ("connect_timeout", self.connect_timeout),
            ("ack_timeout", self.ack_timeout),
            ("response_timeout", self.response_timeout),
            ("backend_timeout", self.backend_timeout),
            ("tunnel_timeout", self.tunnel_timeout),
        ];
        if let Some((key, _)) = timeouts.iter().find(|(_, time)| !(MIN_TIME..=MAX_TIME).contains(time)) {
            return Err(ConfigError::Timeout(key));
        }
        let times = [("backend_idle", self.backend_idle), ("drain", self.drain)];
        if let Some((key, _)) = times.iter().find(|(_, time)| *time > MAX_TIME) {
            return Err(ConfigError::Longest(key));
        }
        within("limits.connections", self.connections, 1, 10_000_000)?;
        within("limits.backlog_bytes", self.backlog_bytes, 1024 * 1024, 1024 * 1024 * 1024 * 1024)?;
        within("limits.streams", self.streams as usize, 1, 10_000)?;
        within("limits.header_bytes", self.header_bytes as usize, 1024, 1024 * 1024)
    }
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connections: 20_000,
            hello_timeout: seconds(5),
            handshake_timeout: seconds(10),
            header_timeout: seconds(60),
            header_bytes: 64 * 1024,
            stall_timeout: seconds(60),
            // 32 KiB for each of 8,192 clients that do not read.
            backlog_bytes: 256 * 1024 * 1024,
            streams: 128,
            connect_timeout: seconds(10),
            ack_timeout: seconds(15),
            response_timeout: seconds(120),
            backend_timeout: seconds(3600),
            backend_idle: seconds(4),
            tunnel_timeout: seconds(3600),
            drain: seconds(30),
        }
    }
}
