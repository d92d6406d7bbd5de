//! A batch and a snapshot make the next snapshot. Pure: no socket, no clock.

use std::collections::HashSet;
use std::sync::Arc;

use rustls::server::ProducesTickets;
use webgateway_proto::feed::{FeedVersion, Resource, ResourceName, ToNode, stored};
use webgateway_proto::model::{CertificateId, Prefixes, RouteId};

use crate::connections::RouteClosed;
use crate::snapshot::{ServedCert, Snapshot};

/// The messages between Begin and End.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    full: bool,
    changes: Vec<Change>,
    /// The prefixes of its settings, if it has some.
    allowed: Option<Prefixes>,
}

#[derive(Debug)]
enum Change {
    Put(Box<Resource>),
    /// A route of a full batch that is held just so: its name alone is kept.
    Same(RouteId),
    /// Boxed, as it is rare and there may be a million changes.
    Unusable(Box<Reject>),
    /// In a full batch, what is removed is not named: it says how the connections of a route end.
    Remove {
        name: ResourceName,
        at_once: bool,
    },
}

/// A resource that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reject {
    /// Its name.
    pub resource: String,
    /// The reason, for the operator.
    pub reason: String,
}

/// A complete batch, and the version that the controlplane stands at after it.
#[derive(Debug)]
pub(crate) struct Complete {
    batch: Batch,
    held: FeedVersion,
}

/// Puts a batch together from the messages of the feed.
#[derive(Debug, Default)]
pub(crate) struct Collector(Option<Batch>);

/// The outcome of a batch.
pub(crate) struct Applied {
    /// The next snapshot.
    pub snapshot: Snapshot,
    /// The version that the batch stands at.
    pub version: u64,
    /// Tells whether the batch named everything there is.
    pub full: bool,
    /// The resources that could not be used.
    pub rejects: Vec<Reject>,
    /// The certificates of the batch whose validity has not begun.
    pub not_begun: Vec<CertificateId>,
    /// The routes that are gone.
    pub closed: Vec<RouteClosed>,
}

impl Reject {
    fn new(name: &ResourceName, reason: &impl ToString) -> Self {
        Self { resource: name.to_string(), reason: reason.to_string() }
    }
}

impl Complete {
    /// Returns a full batch of these messages.
    pub(crate) fn full(messages: Vec<ToNode>, held: FeedVersion) -> Self {
        let mut batch = Batch { full: true, ..Batch::default() };
        messages.into_iter().for_each(|message| batch.take(message, &Snapshot::default()));
        Self { batch, held }
    }

    /// Returns whether it names everything there is.
    pub(crate) fn is_full(&self) -> bool {
        self.batch.full
    }

    /// Returns whether it takes something away, be it by not naming it.
    pub(crate) fn removes(&self) -> bool {
        self.batch.full || self.batch.changes.iter().any(|change| matches!(change, Change::Remove { .. }))
    }

    /// Appends its messages, to be kept.
    pub(crate) fn store(&self, into: &mut Vec<u8>) {
        for change in &self.batch.changes {
            match change {
                Change::Put(resource) => stored::put(resource, into),
                Change::Unusable(unusable) => stored::unusable(&unusable.resource, into),
                // Of a full batch, which is not kept in this form.
                Change::Same(_) => {}
                Change::Remove { name, at_once } => stored::remove(name, *at_once, into),
            }
        }
        stored::end(&self.held, into);
    }
}

impl Batch {
    fn take(&mut self, message: ToNode, current: &Snapshot) {
        match message {
            ToNode::Put(resource) => {
                let change = self.put(resource, current);
                self.changes.push(change);
            }
            ToNode::Unusable(resource, reason) => {
                let reject = Reject { resource, reason: reason.to_string() };
                self.changes.push(Change::Unusable(Box::new(reject)));
            }
            ToNode::Remove { name, at_once } => self.changes.push(Change::Remove { name, at_once }),
            ToNode::Begin { .. }
            | ToNode::End(_)
            | ToNode::Heartbeat
            | ToNode::Directive { .. }
            | ToNode::Explain { .. }
            | ToNode::Unknown => {}
        }
    }

    /// A full batch names what is held already, perhaps a million routes: those cost next to nothing.
    fn put(&mut self, resource: Box<Resource>, current: &Snapshot) -> Change {
        match &*resource {
            Resource::Settings(settings) => self.allowed = Some(settings.allowed_backends.clone()),
            Resource::Route(route) => {
                if self.full && current.routes.by_id(&route.id).is_some_and(|held| **held == *route) {
                    return Change::Same(route.id);
                }
            }
            Resource::Certificate(_) | Resource::Challenge(_) | Resource::TicketKeys(_) => {}
        }
        Change::Put(resource)
    }
}

impl Collector {
    /// Takes a message; returns the batch when it is complete. What stands outside of a batch is dropped.
    pub(crate) fn take(&mut self, message: ToNode, current: &Snapshot) -> Option<Complete> {
        match (message, &mut self.0) {
            (ToNode::Begin { full }, batch) => *batch = Some(Batch { full, ..Batch::default() }),
            (ToNode::End(held), batch) => return batch.take().map(|batch| Complete { batch, held }),
            (message, Some(batch)) => batch.take(message, current),
            (_, None) => {}
        }
        None
    }

    /// Returns the prefixes in which the backends of the routes to come may be: as the settings of this very batch say, if it has some.
    pub(crate) fn allowed_backends(&self, current: &Snapshot) -> Prefixes {
        let own = self.0.as_ref().and_then(|batch| batch.allowed.clone());
        own.unwrap_or_else(|| current.allowed_backends())
    }
}

/// Applies a complete batch at `now` (Unix seconds).
pub(crate) fn apply(
    current: &Snapshot,
    complete: Complete,
    tickets: &Arc<dyn ProducesTickets>,
    now: i64,
) -> Applied {
    let Complete { batch, held } = complete;
    let mut next = Applied::from(current.clone());
    (next.version, next.full) = (held.version, batch.full);
    if batch.full {
        next.drop_unnamed(&batch.changes);
        // What was held before may be of another database. A difference is told only within the past of one.
        next.snapshot.held = next.snapshot.held.filter(|old| old.epoch == held.epoch);
    }
    for change in batch.changes {
        next.change(change, tickets, now);
    }
    next.stand_at(held);
    next
}

/// Takes messages that were kept, one after the other, at `now` (Unix seconds).
pub(crate) fn restore(into: &mut Applied, message: ToNode, tickets: &Arc<dyn ProducesTickets>, now: i64) {
    if let ToNode::End(held) = message {
        into.version = held.version;
        return into.stand_at(held);
    }
    let mut one = Batch::default();
    one.take(message, &into.snapshot);
    one.changes.into_iter().for_each(|change| into.change(change, tickets, now));
}

impl From<Snapshot> for Applied {
    fn from(snapshot: Snapshot) -> Self {
        let (rejects, not_begun, closed) = (Vec::new(), Vec::new(), Vec::new());
        Self { snapshot, version: 0, full: false, rejects, not_begun, closed }
    }
}

impl Applied {
    fn change(&mut self, change: Change, tickets: &Arc<dyn ProducesTickets>, now: i64) {
        match change {
            Change::Put(resource) => self.put(*resource, tickets, now),
            Change::Same(_) => {}
            Change::Unusable(reject) => self.reject(*reject),
            // What it does not name is gone already.
            Change::Remove { .. } if self.full => {}
            Change::Remove { name, at_once } => self.remove(&name, at_once),
        }
    }

    fn put(&mut self, resource: Resource, tickets: &Arc<dyn ProducesTickets>, now: i64) {
        let name = resource.name();
        match resource {
            Resource::Settings(settings) => self.snapshot.settings = Some(Arc::new(settings)),
            Resource::Route(route) => self.snapshot.routes.insert(route),
            Resource::Certificate(cert) => match ServedCert::load(&cert, tickets) {
                Ok(cert) => {
                    self.not_begun.extend((!cert.has_begun(now)).then(|| cert.id.clone()));
                    self.snapshot.certs.insert(cert, now);
                }
                Err(error) => return self.reject(Reject::new(&name, &error)),
            },
            Resource::TicketKeys(keys) => self.snapshot.ticket_keys = Some(Arc::new(keys)),
            Resource::Challenge(challenge) => {
                if let Err(error) = self.snapshot.challenges.insert(&challenge) {
                    return self.reject(Reject::new(&name, &error));
                }
            }
        }
        self.forgive(&name);
    }

    /// Takes a resource that is put right or gone off the rejected ones. Mostly there is none: a name is not written for
    /// that.
    fn forgive(&mut self, name: &ResourceName) {
        if !self.snapshot.rejected.is_empty() {
            self.snapshot.rejected.remove(&name.to_string());
        }
    }

    fn reject(&mut self, reject: Reject) {
        self.snapshot.rejected.insert(reject.resource.clone());
        self.rejects.push(reject);
    }

    fn remove(&mut self, name: &ResourceName, at_once: bool) {
        self.forgive(name);
        match name {
            // There is always a base domain; a controlplane that takes it back is not obeyed.
            ResourceName::Settings | ResourceName::TicketKeys => {}
            ResourceName::Certificate(id) => self.snapshot.certs.remove(id),
            ResourceName::Challenge(host) => self.snapshot.challenges.remove(host),
            ResourceName::Route(id) => {
                if self.snapshot.routes.remove(id).is_some() {
                    self.closed.push(RouteClosed { route: *id, at_once });
                }
            }
        }
    }

    /// Drops what a full batch does not name, for it names everything there is. A route that it removes at once, as it
    /// is suspended, is cut; any other one drains.
    fn drop_unnamed(&mut self, changes: &[Change]) {
        self.snapshot.rejected.clear();
        if self.snapshot.names().next().is_none() {
            return;
        }
        let (mut named, mut cut) = (HashSet::with_capacity(changes.len()), HashSet::new());
        for change in changes {
            match change {
                Change::Put(resource) => drop(named.insert(resource.name())),
                Change::Same(route) => drop(named.insert(ResourceName::Route(*route))),
                Change::Unusable(reject) => named.extend(reject.resource.parse().ok()),
                Change::Remove { name, at_once: true } => drop(cut.insert(name)),
                Change::Remove { at_once: false, .. } => {}
            }
        }
        let unnamed: Vec<ResourceName> = self.snapshot.names().filter(|name| !named.contains(name)).collect();
        for name in unnamed {
            self.remove(&name, cut.contains(&name));
        }
    }

    /// A version of which something was rejected is not held: what was rejected comes again after a reconnect.
    fn stand_at(&mut self, held: FeedVersion) {
        if self.snapshot.rejected.is_empty() {
            self.snapshot.held = Some(held);
        }
    }
}

#[cfg(test)]
mod tests;
