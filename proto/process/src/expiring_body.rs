//! A response body that expires: its memory is released when the client has read it, when its time limit expires, or
//! when the memory is needed for other clients. hyper does not poll the body of a client that does not read, so that a
//! separate future empties it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::memory::MemoryReservation;

/// The size of a frame, in bytes. Frames passed to hyper are no longer counted.
const PIECE: usize = 16 * 1024;

/// A response body in memory that expires if the client does not read it.
#[derive(Debug)]
pub struct ExpiringBody {
    rest: UnsentBytes,
    /// Notifies the guard, by being dropped, that the memory is free.
    _ended: oneshot::Sender<Infallible>,
}

/// The part of the body that is not sent yet; `None` if it has expired.
#[derive(Debug, Clone)]
struct UnsentBytes(Arc<Mutex<Option<Bytes>>>);

/// A response body that expired, because its memory was needed or the client was too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the response was not read in time")]
pub struct BodyExpiredError;

impl ExpiringBody {
    /// Makes a body that expires after `limit`, and its guard, which must be run concurrently. The guard holds `memory`
    /// until the body ends, and drops the rest of the body when it expires.
    pub fn new(
        bytes: Bytes,
        mut memory: MemoryReservation,
        limit: Duration,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        memory.grow(bytes.len());
        let rest = UnsentBytes(Arc::new(Mutex::new(Some(bytes))));
        let (sender, mut ended) = oneshot::channel();
        let body = Self { rest: rest.clone(), _ended: sender };
        let guard = async move {
            tokio::select! {
                _ = &mut ended => return,
                () = memory.evicted() => {}
                () = sleep(limit) => {}
            }
            rest.lock().take();
        };
        (body, guard)
    }
}

impl UnsentBytes {
    fn lock(&self) -> MutexGuard<'_, Option<Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Body for ExpiringBody {
    type Data = Bytes;
    type Error = BodyExpiredError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyExpiredError>>> {
        let mut rest = self.rest.lock();
        Poll::Ready(match &mut *rest {
            None => Some(Err(BodyExpiredError)),
            Some(rest) if rest.is_empty() => None,
            Some(rest) => {
                let piece = rest.split_to(rest.len().min(PIECE));
                Some(Ok(Frame::data(piece)))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.rest.lock().as_ref().is_some_and(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        self.rest
            .lock()
            .as_ref()
            .map_or_else(SizeHint::default, |rest| SizeHint::with_exact(rest.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::memory::NetworkMemory;

    const LIMIT: Duration = Duration::from_secs(60);
    const ALL: usize = 1024 * 1024;

    fn held(memory: &NetworkMemory, network: u8) -> MemoryReservation {
        memory.of([192, 0, network, 1].into())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_sent_in_frames_and_releases_its_memory() {
        let memory = NetworkMemory::new(ALL);
        let (mut body, guard) = ExpiringBody::new(vec![7; PIECE + 1].into(), held(&memory, 1), LIMIT);
        let mut guard = std::pin::pin!(guard);
        assert_eq!(body.size_hint().exact(), Some(PIECE as u64 + 1));
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().len(), PIECE);
        assert!(!body.is_end_stream() && guard.as_mut().now_or_never().is_none());
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().len(), 1);
        assert!(body.is_end_stream() && body.frame().await.is_none());
        drop(body);
        assert!(guard.now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn an_unread_body_expires_for_others_or_after_its_time() {
        let memory = NetworkMemory::new(ALL);
        let (mut slow, guard) = ExpiringBody::new(vec![7; ALL].into(), held(&memory, 1), LIMIT);
        let (mut fast, _other) = ExpiringBody::new(vec![7; ALL / 2].into(), held(&memory, 2), LIMIT);
        guard.await;
        assert_eq!(slow.frame().await.unwrap().unwrap_err(), BodyExpiredError);
        assert!(fast.frame().await.unwrap().is_ok());
        let began = tokio::time::Instant::now();
        let (mut late, guard) = ExpiringBody::new(vec![7; 1].into(), held(&memory, 3), LIMIT);
        guard.await;
        assert_eq!((began.elapsed(), late.frame().await.unwrap().unwrap_err()), (LIMIT, BodyExpiredError));
    }
}
