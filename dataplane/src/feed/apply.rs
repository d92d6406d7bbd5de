//! Applies a batch of the feed to a snapshot, which gives the next snapshot: pure functions, without sockets or clocks.

use std::collections::HashSet;
use std::sync::Arc;

use rustls::server::ProducesTickets;
use webgateway_proto::feed::{FeedVersion, Resource, ResourceName, ToNode, stored};
use webgateway_proto::model::{CertificateId, Prefixes, RouteId};

use crate::connections::ClosedRoute;
use crate::snapshot::{ServedCert, Snapshot};

/// The changes between the messages Begin and End.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// True if the batch lists every resource of the controlplane.
    full: bool,
    changes: Vec<BatchChange>,
    /// The allowed backend prefixes in the settings of this batch, if it contains settings.
    allowed_backends: Option<Prefixes>,
}

#[derive(Debug)]
enum BatchChange {
    Put(Box<Resource>),
    /// A route of a full batch that the snapshot has in the same form: only its id is stored.
    Unchanged(RouteId),
    /// A resource that this build cannot read. Boxed, as it is rare and a batch may have a million changes.
    Unusable(Box<Rejection>),
    /// A removal. A full batch removes resources by not listing them; in one, this only says how the connections of a
    /// removed route end.
    Remove {
        name: ResourceName,
        at_once: bool,
    },
}

/// A resource that cannot be used, and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// The name of the resource.
    pub resource: String,
    /// The reason, for the operator.
    pub reason: String,
}

/// A batch that has been received whole, and the version to which it brings the node.
#[derive(Debug)]
pub(crate) struct CompleteBatch {
    batch: Batch,
    held: FeedVersion,
}

/// A builder of a batch from the messages of the feed.
#[derive(Debug, Default)]
pub(crate) struct BatchBuilder(Option<Batch>);

/// The outcome of applying a batch.
pub(crate) struct ApplyOutcome {
    /// The next snapshot.
    pub snapshot: Snapshot,
    /// The version after the batch.
    pub version: u64,
    /// True if the batch listed every resource of the controlplane.
    pub full: bool,
    /// The resources of the batch that could not be used.
    pub rejections: Vec<Rejection>,
    /// The certificates of the batch whose validity has not begun.
    pub not_yet_valid: Vec<CertificateId>,
    /// The routes that the batch removed.
    pub closed_routes: Vec<ClosedRoute>,
}

impl Rejection {
    fn new(name: &ResourceName, reason: &impl ToString) -> Self {
        Self { resource: name.to_string(), reason: reason.to_string() }
    }
}

impl CompleteBatch {
    /// Returns a full batch of `messages`.
    pub(crate) fn full(messages: Vec<ToNode>, held: FeedVersion) -> Self {
        let mut batch = Batch { full: true, ..Batch::default() };
        messages.into_iter().for_each(|message| batch.push(message, &Snapshot::default()));
        Self { batch, held }
    }

    /// Returns whether the batch lists every resource of the controlplane.
    pub(crate) fn is_full(&self) -> bool {
        self.batch.full
    }

    /// Returns whether the batch may remove a resource, explicitly or by not listing it.
    pub(crate) fn may_remove(&self) -> bool {
        self.batch.full
            || self.batch.changes.iter().any(|change| matches!(change, BatchChange::Remove { .. }))
    }

    /// Appends the messages of the batch to `into`, in the format of the cache.
    pub(crate) fn encode(&self, into: &mut Vec<u8>) {
        for change in &self.batch.changes {
            match change {
                BatchChange::Put(resource) => stored::put(resource, into),
                BatchChange::Unusable(unusable) => stored::unusable(&unusable.resource, into),
                // Only full batches have this, and the cache stores their snapshot instead.
                BatchChange::Unchanged(_) => {}
                BatchChange::Remove { name, at_once } => stored::remove(name, *at_once, into),
            }
        }
        stored::end(&self.held, into);
    }
}

impl Batch {
    fn push(&mut self, message: ToNode, current: &Snapshot) {
        match message {
            ToNode::Put(resource) => {
                let change = self.put_change(resource, current);
                self.changes.push(change);
            }
            ToNode::Unusable(resource, reason) => {
                let rejection = Rejection { resource, reason: reason.to_string() };
                self.changes.push(BatchChange::Unusable(Box::new(rejection)));
            }
            ToNode::Remove { name, at_once } => self.changes.push(BatchChange::Remove { name, at_once }),
            ToNode::Begin { .. }
            | ToNode::End(_)
            | ToNode::Heartbeat
            | ToNode::Directive { .. }
            | ToNode::Explain { .. }
            | ToNode::TrafficAck(_)
            | ToNode::Follow(_)
            | ToNode::Unknown => {}
        }
    }

    /// Returns the change that a put makes. A full batch may list a million routes that the snapshot already has: for
    /// these only the id is stored.
    fn put_change(&mut self, resource: Box<Resource>, current: &Snapshot) -> BatchChange {
        match &*resource {
            Resource::Settings(settings) => self.allowed_backends = Some(settings.allowed_backends.clone()),
            Resource::Route(route) => {
                if self.full && current.routes.by_id(&route.id).is_some_and(|held| **held == *route) {
                    return BatchChange::Unchanged(route.id);
                }
            }
            Resource::Certificate(_) | Resource::Challenge(_) | Resource::TicketKeys(_) => {}
        }
        BatchChange::Put(resource)
    }
}

impl BatchBuilder {
    /// Adds a message; returns the batch when it is complete. Messages outside a batch are ignored.
    pub(crate) fn push(&mut self, message: ToNode, current: &Snapshot) -> Option<CompleteBatch> {
        match (message, &mut self.0) {
            (ToNode::Begin { full }, batch) => *batch = Some(Batch { full, ..Batch::default() }),
            (ToNode::End(held), batch) => return batch.take().map(|batch| CompleteBatch { batch, held }),
            (message, Some(batch)) => batch.push(message, current),
            (_, None) => {}
        }
        None
    }

    /// Returns the prefixes that allow the backends of the next routes: those in the settings of the current batch if
    /// it has settings, otherwise those of `current`.
    pub(crate) fn allowed_backends(&self, current: &Snapshot) -> Prefixes {
        let in_batch = self.0.as_ref().and_then(|batch| batch.allowed_backends.clone());
        in_batch.unwrap_or_else(|| current.allowed_backends())
    }
}

/// Applies a batch to `current` at `now` (Unix seconds).
pub(crate) fn apply(
    current: &Snapshot,
    batch: CompleteBatch,
    tickets: &Arc<dyn ProducesTickets>,
    now: i64,
) -> ApplyOutcome {
    let CompleteBatch { batch, held } = batch;
    let mut next = ApplyOutcome::from(current.clone());
    (next.version, next.full) = (held.version, batch.full);
    if batch.full {
        next.remove_unlisted(&batch.changes);
        // A version of another epoch is of another database, from which the controlplane cannot send a difference.
        next.snapshot.held = next.snapshot.held.filter(|old| old.epoch == held.epoch);
    }
    for change in batch.changes {
        next.apply_change(change, tickets, now);
    }
    next.complete_version(held);
    next
}

/// Applies one message that was read from the cache, at `now` (Unix seconds).
pub(crate) fn apply_stored(
    into: &mut ApplyOutcome,
    message: ToNode,
    tickets: &Arc<dyn ProducesTickets>,
    now: i64,
) {
    if let ToNode::End(held) = message {
        into.version = held.version;
        return into.complete_version(held);
    }
    let mut batch = Batch::default();
    batch.push(message, &into.snapshot);
    batch.changes.into_iter().for_each(|change| into.apply_change(change, tickets, now));
}

impl From<Snapshot> for ApplyOutcome {
    fn from(snapshot: Snapshot) -> Self {
        let (rejections, not_yet_valid, closed_routes) = (Vec::new(), Vec::new(), Vec::new());
        Self { snapshot, version: 0, full: false, rejections, not_yet_valid, closed_routes }
    }
}

impl ApplyOutcome {
    fn apply_change(&mut self, change: BatchChange, tickets: &Arc<dyn ProducesTickets>, now: i64) {
        match change {
            BatchChange::Put(resource) => self.put(*resource, tickets, now),
            BatchChange::Unchanged(_) => {}
            BatchChange::Unusable(rejection) => self.reject(*rejection),
            // `remove_unlisted` has already removed what a full batch does not list.
            BatchChange::Remove { .. } if self.full => {}
            BatchChange::Remove { name, at_once } => self.remove(&name, at_once),
        }
    }

    fn put(&mut self, resource: Resource, tickets: &Arc<dyn ProducesTickets>, now: i64) {
        let name = resource.name();
        match resource {
            Resource::Settings(settings) => self.snapshot.settings = Some(Arc::new(settings)),
            Resource::Route(route) => self.snapshot.routes.insert(route),
            Resource::Certificate(cert) => match ServedCert::load(&cert, tickets) {
                Ok(cert) => {
                    self.not_yet_valid.extend((!cert.has_begun(now)).then(|| cert.id.clone()));
                    self.snapshot.certs.insert(cert, now);
                }
                Err(error) => return self.reject(Rejection::new(&name, &error)),
            },
            Resource::TicketKeys(keys) => self.snapshot.ticket_keys = Some(Arc::new(keys)),
            Resource::Challenge(challenge) => {
                if let Err(error) = self.snapshot.challenges.insert(&challenge) {
                    return self.reject(Rejection::new(&name, &error));
                }
            }
        }
        self.clear_rejection(&name);
    }

    /// Removes a resource from the rejected ones, as it has been replaced or removed.
    fn clear_rejection(&mut self, name: &ResourceName) {
        // Formatting the name of each of a million routes would be expensive, and the set is almost always empty.
        if !self.snapshot.rejected.is_empty() {
            self.snapshot.rejected.remove(&name.to_string());
        }
    }

    fn reject(&mut self, rejection: Rejection) {
        self.snapshot.rejected.insert(rejection.resource.clone());
        self.rejections.push(rejection);
    }

    fn remove(&mut self, name: &ResourceName, at_once: bool) {
        self.clear_rejection(name);
        match name {
            // A node always needs a base domain and ticket keys: a removal of these is ignored.
            ResourceName::Settings | ResourceName::TicketKeys => {}
            ResourceName::Certificate(id) => self.snapshot.certs.remove(id),
            ResourceName::Challenge(host) => self.snapshot.challenges.remove(host),
            ResourceName::Route(id) => {
                if self.snapshot.routes.remove(id).is_some() {
                    self.closed_routes.push(ClosedRoute { route: *id, at_once });
                }
            }
        }
    }

    /// Removes every resource that a full batch does not list. The connections of a route end at once if the batch has
    /// a removal of the route that says so, as after a suspension; otherwise they drain.
    fn remove_unlisted(&mut self, changes: &[BatchChange]) {
        self.snapshot.rejected.clear();
        if self.snapshot.names().next().is_none() {
            return;
        }
        let (mut listed, mut at_once) = (HashSet::with_capacity(changes.len()), HashSet::new());
        for change in changes {
            match change {
                BatchChange::Put(resource) => drop(listed.insert(resource.name())),
                BatchChange::Unchanged(route) => drop(listed.insert(ResourceName::Route(*route))),
                BatchChange::Unusable(rejection) => listed.extend(rejection.resource.parse().ok()),
                BatchChange::Remove { name, at_once: true } => drop(at_once.insert(name)),
                BatchChange::Remove { at_once: false, .. } => {}
            }
        }
        let unlisted: Vec<ResourceName> =
            self.snapshot.names().filter(|name| !listed.contains(name)).collect();
        for name in unlisted {
            self.remove(&name, at_once.contains(&name));
        }
    }

    /// Records that the snapshot has this version, unless a resource is still rejected: then the controlplane has to
    /// send that resource again after a reconnect.
    fn complete_version(&mut self, held: FeedVersion) {
        if self.snapshot.rejected.is_empty() {
            self.snapshot.held = Some(held);
        }
    }
}

#[cfg(test)]
mod tests;
