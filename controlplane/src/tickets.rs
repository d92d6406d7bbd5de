//! The rotation of the session ticket keys that all nodes share, so that clients can resume sessions at any node.

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use webgateway_proto::feed::{TicketKey, TicketKeys};
use webgateway_seal::SecretKey;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::reconcile::Reconciler;
use crate::store::{Store, StoreError, tickets};

/// A reconciler that rotates the session ticket keys.
pub(crate) struct TicketKeyRotation {
    store: Store,
    key: Arc<SecretKey>,
    clock: Clock,
    interval: Duration,
}

/// An error of the rotation.
#[derive(Debug, thiserror::Error)]
pub enum TicketKeyError {
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system provides no random bytes.
    #[error("cannot generate session ticket keys: the system provides no random bytes")]
    Randomness,
}

impl TicketKeyRotation {
    /// Creates a rotation with a new key every `interval`. A key is distributed for one interval before it encrypts
    /// tickets, encrypts them for one interval, and decrypts them for one more.
    #[must_use]
    pub(crate) fn new(store: Store, key: Arc<SecretKey>, clock: Clock, interval: Duration) -> Self {
        Self { store, key, clock, interval }
    }
}

impl Reconciler for TicketKeyRotation {
    type Error = TicketKeyError;

    async fn pass(&mut self) -> Result<Duration, TicketKeyError> {
        let (key, now) = (Arc::clone(&self.key), self.clock.now());
        let stored = self.store.read("ticket keys", move |tx| tickets::find(tx, &key)).await?;
        let due = |rotated_at: OffsetDateTime| rotated_at + self.interval;
        let keys = match stored {
            // The store keeps whole seconds. A clock that was set back does not delay the rotation.
            Some(stored) if now < due(stored.rotated_at) && stored.rotated_at <= now => {
                return Ok(Duration::try_from(due(stored.rotated_at) - now).unwrap_or_default());
            }
            Some(stored) => rotate(&stored.keys)?,
            None => TicketKeys(vec![generate_key()?, generate_key()?]),
        };
        let key = Arc::clone(&self.key);
        self.store.write("ticket keys", move |tx| tickets::put(tx, &keys, now, &key)).await?;
        Ok(self.interval)
    }
}

/// Returns the next keys, in the order current, next, previous.
fn rotate(TicketKeys(keys): &TicketKeys) -> Result<TicketKeys, TicketKeyError> {
    match keys.as_slice() {
        [current, next, ..] => Ok(TicketKeys(vec![next.clone(), generate_key()?, current.clone()])),
        [] | [_] => Ok(TicketKeys(vec![generate_key()?, generate_key()?])),
    }
}

fn generate_key() -> Result<TicketKey, TicketKeyError> {
    let mut key = TicketKey { name: [0; 16], secret: Zeroizing::new([0; 32]) };
    aws_lc_rs::rand::fill(&mut key.name).map_err(|_| TicketKeyError::Randomness)?;
    aws_lc_rs::rand::fill(key.secret.as_mut_slice()).map_err(|_| TicketKeyError::Randomness)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn a_key_is_distributed_before_it_is_used_and_kept_afterwards() {
        let first = TicketKeys(vec![generate_key().unwrap(), generate_key().unwrap()]);
        let mut keys = first.clone();
        let name = |keys: &TicketKeys, place: usize| keys.0.get(place).map(|key| key.name);
        for _ in 0..4 {
            let later = rotate(&keys).unwrap();
            assert_eq!((name(&later, 0), name(&later, 2)), (name(&keys, 1), name(&keys, 0)));
            assert_eq!(later.0.len(), 3);
            keys = later;
        }
        assert!(keys.0.iter().all(|key| !first.0.contains(key)));
    }

    #[tokio::test]
    async fn keys_are_created_once_rotated_in_time_and_sealed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gateway.db");
        let store =
            Store::open(&path, Metrics::register(&mut prometheus_client::registry::Registry::default()));
        let (store, key) = (store.unwrap(), Arc::new(SecretKey::new(&[1; 32]).unwrap()));
        let read = async || {
            let key = Arc::clone(&key);
            store.read("test", move |tx| tickets::find(tx, &key)).await.unwrap().unwrap()
        };
        let hour = Duration::from_secs(3600);
        let mut rotation = TicketKeyRotation::new(store.clone(), Arc::clone(&key), Clock::system(), hour);
        rotation.pass().await.unwrap();
        let first = read().await;
        let left = rotation.pass().await.unwrap();
        assert!(left <= hour && read().await == first, "not due yet");
        rotation.interval = Duration::ZERO;
        rotation.pass().await.unwrap();
        let second = read().await;
        assert!(second.version > first.version);
        assert_eq!(second.keys.0[2], first.keys.0[0]);
        for file in std::fs::read_dir(dir.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            let secret = second.keys.0[0].secret.as_slice();
            assert!(!bytes.windows(32).any(|window| window == secret), "sealed at rest");
        }
        let other_key = SecretKey::new(&[2; 32]).unwrap();
        let unreadable = store.read("test", move |tx| tickets::find(tx, &other_key)).await.unwrap();
        assert_eq!(unreadable, None);
    }
}
