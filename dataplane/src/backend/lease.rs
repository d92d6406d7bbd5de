//! The part of a backend connection that is in use until its response was read.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http_body::Body;
use tokio::time::Instant;

use super::http2::{STREAM_WINDOW, StreamPermit};
use super::pool::{BackendConnection, Pool};
use super::pool_key::PoolKey;
use super::stream::StreamControl;

/// The part of a backend connection that is in use until its response was read. `B` is the type of request bodies.
#[derive(Debug)]
pub(crate) enum Lease<B> {
    /// An HTTP/1.1 connection.
    Connection(ConnectionLease<B>),
    /// A stream of an HTTP/2 connection.
    Stream(StreamPermit<B>),
}

/// An HTTP/1.1 connection that is in use until its response was read.
#[derive(Debug)]
pub(crate) struct ConnectionLease<B> {
    /// The pool that the connection returns to.
    pub pool: Rc<Pool<B>>,
    /// The key of the connection in the pool.
    pub key: PoolKey,
    /// The connection.
    pub connection: BackendConnection<B>,
    /// The time that the backend announces to keep the connection while it is idle.
    pub keep_alive: Option<Duration>,
    /// Allows the connection to return to the pool.
    pub is_reusable: bool,
}

impl<B> Lease<B>
where
    B: Body + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Returns the state of an HTTP/1.1 connection, which the response has for itself.
    pub(crate) fn control(&self) -> Option<&Arc<StreamControl>> {
        match self {
            Self::Connection(lease) => Some(&lease.connection.control),
            Self::Stream(_) => None,
        }
    }

    /// Returns the number of bytes of a response that may be in memory although nothing reads them.
    pub(crate) fn unread(&self) -> usize {
        match self {
            // The connection is not read either.
            Self::Connection(_) => 0,
            Self::Stream(_) => STREAM_WINDOW as usize,
        }
    }

    /// Returns the connection to the pool after the response was read at `now`. After a response that came before the
    /// end of the request (`is_request_read`), an HTTP/1.1 connection cannot carry another request.
    pub(crate) fn release(self, now: Instant, is_request_read: bool) {
        match self {
            Self::Connection(lease) if lease.is_reusable && is_request_read => {
                let ConnectionLease { pool, key, connection, keep_alive, .. } = lease;
                pool.put(key, connection, now, keep_alive);
            }
            Self::Connection(_) => {}
            Self::Stream(permit) => drop(permit),
        }
    }
}
