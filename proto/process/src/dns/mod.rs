//! DNS over UDP and TCP, for who answers or who relays: sockets, bounds, and how much one network may ask.

mod gate;
mod limit;
mod server;
mod tcp;

use std::future::Future;
use std::net::SocketAddr;

pub use gate::{Counts, Gate, header, server_failure};
pub use limit::Limit;
pub use server::{DnsListenError, DnsSockets};

/// The size of a message's header, in bytes.
pub const HEADER: usize = 12;

/// What a question came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Its source may be forged, its answer is bounded.
    Udp,
    /// Its source is true.
    Tcp,
}

/// Who answers. Clones answer the same.
pub trait Answerer: Clone + Send + Sync + 'static {
    /// Answers one message; `None` if it deserves none.
    fn answer(
        &self,
        question: &[u8],
        from: SocketAddr,
        transport: Transport,
    ) -> impl Future<Output = Option<Vec<u8>>> + Send;

    /// What is counted.
    fn counts(&self) -> &Counts;
}
