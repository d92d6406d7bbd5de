//! A DNS server's sockets and bounds, for the process that answers and for those that relay: UDP and TCP, how much one
//! network may ask, and how long a connection may last.
//!
//! hickory-server has a server of its own, which parses what a relay hands on as it came, has no bound on connections
//! in all or by network, stops accepting after ECONNABORTED and spins when file descriptors run out (0.26.3).

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

/// The protocol that a question came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// The source may be forged, and the answer is bounded.
    Udp,
    /// The source is true.
    Tcp,
}

/// Responds to DNS messages. Clones respond the same.
pub trait Responder: Clone + Send + Sync + 'static {
    /// Returns the answer to one message; `None` if it deserves none.
    fn respond(
        &self,
        question: &[u8],
        from: SocketAddr,
        transport: Transport,
    ) -> impl Future<Output = Option<Vec<u8>>> + Send;

    /// Returns the metrics of the server.
    fn metrics(&self) -> &DnsMetrics;
}
