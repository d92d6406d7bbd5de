//! The UDP and TCP sockets of a DNS server with rate limits and timeouts, for the process that answers and for those
//! that relay to it.
//!
//! The server of hickory-server (0.26.3) parses messages that a relay forwards unchanged, has no limit on connections,
//! stops accepting after ECONNABORTED, and spins without file descriptors.

mod filter;
mod metrics;
mod server;
mod tcp;
mod udp;

use std::future::Future;
use std::net::SocketAddr;

pub use filter::{QuestionFilter, header, server_failure};
pub use metrics::DnsMetrics;
pub use server::{DnsListenError, DnsSockets};

/// The size of a message's header, in bytes (RFC 1035 §4.1.1).
pub const HEADER: usize = 12;

/// The transport protocol of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// UDP: the source may be forged, and the size of the answer is limited.
    Udp,
    /// TCP: the source is genuine.
    Tcp,
}

/// A responder to DNS messages. Clones share its state.
pub trait Responder: Clone + Send + Sync + 'static {
    /// Returns the answer to a message; `None` to send none.
    fn respond(
        &self,
        question: &[u8],
        from: SocketAddr,
        transport: Transport,
    ) -> impl Future<Output = Option<Vec<u8>>> + Send;

    /// Returns the metrics of the server.
    fn metrics(&self) -> &DnsMetrics;
}
