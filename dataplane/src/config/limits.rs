//! Every bound on size and time.

use std::time::Duration;

use serde::Deserialize;

use super::error::{ConfigError, within};

/// The bytes that HTTP/2 counts for a field beside those of its name and value.
const FIELD_OVERHEAD: usize = 32;
/// A map of fields has no room for many more.
const MAX_FIELDS: usize = 16_384;

/// Every bound on size and time, each for one worker or one connection.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Open connections per worker.
    pub connections: usize,
    /// The time to send a whole ClientHello.
    #[serde(with = "humantime_serde")]
    pub hello_timeout: Duration,
    /// The time for the rest of the TLS handshake.
    #[serde(with = "humantime_serde")]
    pub handshake_timeout: Duration,
    /// The time to send a request head, and between two of them.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// The maximum size of a head, of a request or of a backend's answer, in bytes.
    pub header_bytes: u32,
    /// The time without progress on the client's side while the gateway waits for it.
    #[serde(with = "humantime_serde")]
    pub stall_timeout: Duration,
    /// Concurrent HTTP/2 streams per connection.
    pub streams: u32,
    /// The time to connect to a backend.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// The time for a backend's host to acknowledge what it was sent.
    #[serde(with = "humantime_serde")]
    pub ack_timeout: Duration,
    /// The time for a backend's response head.
    #[serde(with = "humantime_serde")]
    pub response_timeout: Duration,
    /// The time without a byte of a backend's response body.
    #[serde(with = "humantime_serde")]
    pub backend_timeout: Duration,
    /// The time an idle backend connection is kept: less than backends keep theirs, which is 5 s in the shortest default.
    #[serde(with = "humantime_serde")]
    pub backend_idle: Duration,
    /// The time without a byte either way in a tunnel.
    #[serde(with = "humantime_serde")]
    pub tunnel_timeout: Duration,
    /// The time for connections of a deleted route to finish, and for all of them at a stop.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
}

/// The bounds of every timeout.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);
/// The maximum size of a ClientHello, in bytes with its record headers.
pub(crate) const HELLO_BYTES: usize = 64 * 1024;
/// The time for an API request's body to arrive.
pub(crate) const API_BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum size of the bodies of all API requests that are being received, in bytes.
pub(crate) const API_RECEIVED: usize = 32 * 1024 * 1024;
/// The maximum size of the bodies of all API requests that have come whole, in bytes.
pub(crate) const API_BODIES: usize = 32 * 1024 * 1024;
/// The maximum size of all answers of the API that are being read, in bytes.
pub(crate) const API_ANSWERS: usize = 64 * 1024 * 1024;
/// The time to read an answer of the API.
pub(crate) const API_READ_TIMEOUT: Duration = Duration::from_secs(120);
/// The maximum size of an answer of the API, in bytes: what gwctl takes, and a head.
pub(crate) const API_ANSWER: usize = 17 * 1024 * 1024;
/// The time for the controlplane to answer an API request.
pub(crate) const API_TIMEOUT: Duration = Duration::from_secs(30);
/// The bytes of responses that a worker holds for its clients before it reads little at a time: 64 KiB for each of 4096
/// clients that take nothing. Each other one then adds at most 32 KiB.
pub(crate) const HELD_BYTES: usize = 256 * 1024 * 1024;
/// The idle connections kept per backend and worker: as many as a burst left, for the few seconds they are kept.
pub(crate) const POOL_PER_BACKEND: usize = 1024;

impl Limits {
    /// Returns the maximum size of a head in HTTP/1.1, in bytes.
    #[must_use]
    pub(crate) fn head_size(&self) -> usize {
        usize::try_from(self.header_bytes).unwrap_or(usize::MAX)
    }

    /// Returns the number of fields that HTTP/2 has room for in a head of the maximum size: it counts 32 bytes for each,
    /// be they empty (RFC 9113 §6.5.2). HTTP/1.1 takes as many.
    #[must_use]
    pub(crate) fn head_fields(&self) -> usize {
        (self.head_size() / FIELD_OVERHEAD).min(MAX_FIELDS)
    }

    /// Refuses bounds that nothing could run with: time that is none or beyond the clock, room for nothing.
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
        if let Some((key, _)) = timeouts.iter().find(|(_, time)| !(SHORTEST..=LONGEST).contains(time)) {
            return Err(ConfigError::Timeout(key));
        }
        let times = [("backend_idle", self.backend_idle), ("drain", self.drain)];
        if let Some((key, _)) = times.iter().find(|(_, time)| *time > LONGEST) {
            return Err(ConfigError::Longest(key));
        }
        within("limits.connections", self.connections, 1, 10_000_000)?;
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
