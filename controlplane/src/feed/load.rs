//! The loader of the catalog: it reads the store at start and after changes, which it batches for a short delay.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{interval, sleep};
use tracing::{error, warn};
use webgateway_process::Stop;
use webgateway_proto::feed::{FeedRoute, Resource, ResourceName, Settings};
use webgateway_proto::model::{Destination, ProcessListeners};
use webgateway_seal::SecretKey;

use super::catalog::{Catalog, MAX_TOMBSTONES};
use super::challenges::Challenges;
use crate::clock::Clock;
use crate::config::RouteLimits;
use crate::domain::{GatewayListeners, ListenerSnapshot};
use crate::store::change::{Change, ChangeSet, ResourceChange};
use crate::store::feed::{self, changes_since, record};
use crate::store::{Store, StoreError, challenges, tombstones};

/// The delay before the store is read again after a failure.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// The time for which deletions are remembered. A node that was disconnected for longer receives all resources again.
const TOMBSTONE_RETENTION: time::Duration = time::Duration::days(30);
/// The interval at which older deletions are forgotten.
const COMPACTION_INTERVAL: Duration = Duration::from_secs(3600);

/// The store was closed while the process was running.
#[derive(Debug, Clone, Copy, Error)]
#[error("the store was closed")]
pub(crate) struct StoreClosedError;

/// The loader of the catalog.
#[derive(Clone)]
pub(crate) struct Loader {
    /// The store of routes and certificates.
    pub store: Store,
    /// The key that decrypts the stored private keys.
    pub key: Arc<SecretKey>,
    /// The settings of the configuration, without listeners.
    pub settings: Settings,
    /// The operator's bounds of route options.
    pub route_limits: RouteLimits,
    /// The known listeners of the gateway, which are added to the settings.
    pub listeners: GatewayListeners,
    /// The challenges on the feed.
    pub challenges: Challenges,
    /// The source of the current time, for the age of deletions.
    pub clock: Clock,
    /// The time for which changes are batched, from the first one, before they are published.
    pub delay: Duration,
}

/// An event that wakes the loader.
enum Wakeup {
    /// The store has a newer revision.
    Revision,
    /// The known listeners of the gateway have changed.
    Listeners,
    /// The compaction interval has elapsed.
    Compaction,
}

impl Loader {
    /// Loads the whole catalog.
    pub(crate) async fn load(&self) -> Result<Catalog, StoreError> {
        let text = settings_text(&self.settings, &self.route_limits);
        let write = self.store.write("feed settings", move |tx| -> Result<_, StoreError> {
            Ok((record(tx, feed::SETTINGS, &text)?, challenges::clear(tx)?))
        });
        let (version, cleared) = write.await?;
        let known = self.listeners.subscribe().borrow().clone();
        let settings = self.settings(&known).await?;
        let compacted = self.compact().await?;
        // The removal of a route that the settings forbid now has the old version of the route, and the removals of
        // earlier challenges may be incomplete. A node at an older version must therefore receive all resources.
        let floor = version.max(cleared.since).max(compacted);
        let mut catalog = Catalog::new(Arc::clone(self.store.history()), floor);
        let mut changes = self.read(0).await?;
        changes.changed.extend(cleared.removals);
        changes.changed.push(ResourceChange { version: settings.version.max(version), ..settings });
        catalog.apply(changes);
        Ok(catalog)
    }

    /// Publishes catalogs with the changes of the store until the process stops.
    pub(crate) async fn follow(
        self,
        catalog: watch::Sender<Catalog>,
        stop: Stop,
    ) -> Result<(), StoreClosedError> {
        let (mut revision, mut listeners) = (self.store.changed(), self.listeners.subscribe());
        // The listeners may have changed since the catalog was loaded.
        listeners.mark_changed();
        let mut settings = None;
        let mut compaction = interval(COMPACTION_INTERVAL);
        loop {
            let version = catalog.borrow().version();
            let wakeup = tokio::select! {
                newer = revision.wait_for(|revision| *revision > version) => newer.map(|_| Wakeup::Revision),
                Ok(()) = listeners.changed() => Ok(Wakeup::Listeners),
                _ = compaction.tick() => Ok(Wakeup::Compaction),
                () = stop.begun() => return Ok(()),
            };
            match wakeup.map_err(|_| StoreClosedError)? {
                Wakeup::Revision => {}
                Wakeup::Listeners => {
                    let known = listeners.borrow_and_update().clone();
                    settings = self.settings_or_log(&known).await.or(settings);
                    continue;
                }
                Wakeup::Compaction => {
                    self.compact_catalog(&catalog).await;
                    continue;
                }
            }
            sleep(self.delay).await;
            match self.read(version).await {
                Ok(mut changes) => {
                    changes.changed.extend(settings.take_if(|changed| changed.version > version));
                    let mut next = catalog.borrow().clone();
                    next.apply(changes);
                    catalog.send_replace(next);
                }
                Err(error) => {
                    error!(%error, "cannot publish changes to the nodes, retrying");
                    sleep(RETRY_DELAY).await;
                }
            }
        }
    }

    /// Returns the settings with these listeners, and the version at which they last changed.
    async fn settings(&self, known: &ListenerSnapshot) -> Result<ResourceChange, StoreError> {
        let mut settings = self.settings.clone();
        let is_backend = |ip: IpAddr| ip.is_unspecified() || settings.allowed_backends.contain(ip);
        let listeners = known.all().cloned().map(|mut listeners| {
            listeners.addresses.retain(|address| is_backend(address.ip()));
            listeners
        });
        let listeners: Vec<ProcessListeners> =
            listeners.filter(|process| !process.addresses.is_empty()).collect();
        let text = format!("{listeners:?}");
        settings.listeners = listeners;
        let write = self.store.write("feed listeners", move |tx| record(tx, feed::LISTENERS, &text));
        let change = Change::Put(Arc::new(Resource::Settings(settings)));
        Ok(ResourceChange { name: ResourceName::Settings, version: write.await?, change })
    }

    async fn settings_or_log(&self, known: &ListenerSnapshot) -> Option<ResourceChange> {
        let settings = self.settings(known).await;
        settings
            .inspect_err(|error| error!(%error, "cannot publish the gateway's listeners to the nodes"))
            .ok()
    }

    /// Forgets old deletions, without notifying the nodes' streams.
    async fn compact_catalog(&self, catalog: &watch::Sender<Catalog>) {
        match self.compact().await {
            Ok(floor) => drop(catalog.send_if_modified(|catalog| {
                catalog.forget_until(floor);
                false
            })),
            Err(error) => error!(%error, "cannot forget old deletions, retrying later"),
        }
    }

    async fn compact(&self) -> Result<u64, StoreError> {
        let before = self.clock.now() - TOMBSTONE_RETENTION;
        self.store.write("compaction", move |tx| tombstones::compact(tx, MAX_TOMBSTONES, before)).await
    }

    async fn read(&self, version: u64) -> Result<ChangeSet, StoreError> {
        let key = Arc::clone(&self.key);
        let mut changes = self.store.read("feed", move |tx| changes_since(tx, version, &key)).await?;
        for changed in &mut changes.changed {
            self.remove_if_forbidden(changed);
            self.clamp_options(changed);
        }
        changes.changed.extend(self.challenges.changes_between(version, changes.version));
        Ok(changes)
    }

    /// Replaces a route by its removal if `allowed_backends` forbids one of its backends.
    fn remove_if_forbidden(&self, changed: &mut ResourceChange) {
        let Change::Put(resource) = &changed.change else { return };
        let Resource::Route(route) = resource.as_ref() else { return };
        let allowed = &self.settings.allowed_backends;
        let forbidden = route.destination.all_backends().find_map(|backend| allowed.admit(backend).err());
        if let Some(reason) = forbidden {
            warn!(host = %route.host, %reason, "route not served: `allowed_backends` forbids its backend");
            changed.change = Change::Remove { at_once: true };
        }
    }

    /// Reduces the options of a route to the operator's bounds, which may be lower now than when the route was stored.
    fn clamp_options(&self, changed: &mut ResourceChange) {
        let Change::Put(resource) = &changed.change else { return };
        let Resource::Route(route) = resource.as_ref() else { return };
        let destination = &route.destination;
        if let Some(options) = self.route_limits.clamp(destination.mode, &destination.options) {
            let destination = Destination { options: options.share(), ..destination.clone() };
            let route = FeedRoute { destination, ..route.clone() };
            changed.change = Change::Put(Arc::new(Resource::Route(route)));
        }
    }
}

/// Returns a text that changes with everything that decides about the routes on the feed besides the store.
fn settings_text(settings: &Settings, limits: &RouteLimits) -> String {
    let text = format!("{}; {}", settings.base_domain, settings.allowed_backends);
    if *limits == RouteLimits::default() { text } else { format!("{text}; {limits:?}") }
}

#[cfg(test)]
mod tests;
