//! The HTTP/2 connections of one worker to backends, shared by the requests of all routes with the same transport.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use webgateway_proto::feed::FeedRoute;

use super::dial::DialError;
use super::http2::{Http2Connection, StreamPermit};
use super::pool_key::PoolKey;
use super::transport::Transport;

/// The maximum number of connections to one backend with one transport. Further requests wait for a stream.
const MAX_CONNECTIONS: usize = 64;

/// The connections by key. `B` is the type of request bodies.
#[derive(Debug)]
pub(crate) struct Http2Pool<B>(RefCell<HashMap<PoolKey, Vec<Rc<Group<B>>>>>);

/// The connections to one backend with one transport.
#[derive(Debug)]
pub(crate) struct Group<B> {
    transport: Rc<Transport>,
    connections: RefCell<Vec<Rc<Http2Connection<B>>>>,
    /// The connection that is being opened, if there is one.
    opening: RefCell<Option<Rc<Opening>>>,
    /// Wakes a request that waits for a stream.
    freed: Rc<Notify>,
}

/// A connection that is being opened. Requests that need it wait for its end.
#[derive(Debug, Default)]
struct Opening {
    error: Cell<Option<DialError>>,
    ended: Notify,
}

/// The duty to end an opening, even if the request that began it is cancelled.
struct OpeningGuard<'a, B>(&'a Group<B>, Rc<Opening>);

impl<B> Default for Http2Pool<B> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<B> Http2Pool<B> {
    /// Returns the connections of `key` with the transport of `route`; `None` if it is plain HTTP/1.1.
    pub(crate) fn group(&self, key: &PoolKey, route: &FeedRoute) -> Option<Rc<Group<B>>> {
        let mut all = self.0.borrow_mut();
        let of_backend = all.entry(key.clone()).or_default();
        let found = of_backend.iter().find(|group| Transport::fits(Some(&group.transport), route));
        if let Some(group) = found {
            return Some(Rc::clone(group));
        }
        let group = Rc::new(Group {
            transport: Rc::new(Transport::of(route)?),
            connections: RefCell::default(),
            opening: RefCell::default(),
            freed: Rc::default(),
        });
        of_backend.push(Rc::clone(&group));
        Some(group)
    }

    /// Closes the connections that had no streams for `idle_timeout`, and forgets those that have ended.
    pub(crate) fn sweep(&self, now: Instant, idle_timeout: Duration) {
        self.0.borrow_mut().retain(|_, of_backend| {
            of_backend.retain(|group| {
                let is_idle = |since: Instant| now.saturating_duration_since(since) > idle_timeout;
                let mut connections = group.connections.borrow_mut();
                connections.retain(|connection| {
                    !connection.is_ended() && !connection.idle_since().is_some_and(is_idle)
                });
                // A request that waits has a reference to the group.
                !connections.is_empty() || Rc::strong_count(group) > 1
            });
            !of_backend.is_empty()
        });
    }
}

impl<B> Group<B> {
    /// Returns the transport.
    pub(crate) fn transport(&self) -> &Rc<Transport> {
        &self.transport
    }

    /// Takes a permit for a stream: on an open connection, or on a new one that `open` opens. Waits until `deadline` if
    /// the backend allows neither.
    pub(crate) async fn permit(
        &self,
        deadline: Instant,
        open: impl AsyncFn() -> Result<Http2Connection<B>, DialError>,
    ) -> Result<StreamPermit<B>, DialError> {
        loop {
            if let Some(permit) = self.free_stream() {
                return Ok(permit);
            }
            let opening = self.opening.borrow().clone();
            if let Some(opening) = opening {
                // Another request opens it, whose own limit may be longer.
                if timeout_at(deadline, opening.ended.notified()).await.is_err() {
                    return Err(DialError::Timeout);
                }
                if let Some(error) = opening.error.get() {
                    return Err(error);
                }
            } else if self.connections.borrow().len() < MAX_CONNECTIONS {
                let guard = OpeningGuard::new(self);
                match open().await {
                    Ok(connection) => self.connections.borrow_mut().push(Rc::new(connection)),
                    Err(error) => {
                        guard.1.error.set(Some(error));
                        return Err(error);
                    }
                }
            } else if timeout_at(deadline, self.freed.notified()).await.is_err() {
                return Err(DialError::Busy);
            }
        }
    }

    /// Takes a permit from the oldest connection that has a free stream, so that surplus ones become idle.
    fn free_stream(&self) -> Option<StreamPermit<B>> {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|connection| !connection.is_ended());
        connections.iter().find_map(|connection| connection.permit(&self.freed))
    }
}

impl<'a, B> OpeningGuard<'a, B> {
    fn new(group: &'a Group<B>) -> Self {
        let opening = Rc::<Opening>::default();
        group.opening.replace(Some(Rc::clone(&opening)));
        Self(group, opening)
    }
}

impl<B> Drop for OpeningGuard<'_, B> {
    fn drop(&mut self) {
        self.0.opening.replace(None);
        self.1.ended.notify_waiters();
    }
}
