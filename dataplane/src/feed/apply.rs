//! A batch and a snapshot make the next snapshot. Pure: no socket, no clock.

use std::collections::HashSet;
use std::sync::Arc;

use rustls::server::ProducesTickets;
use webgateway_proto::feed::{Held, Resource, ResourceName, ToNode};
use webgateway_proto::model::{Prefixes, RouteId};

use crate::snapshot::{ServedCert, Snapshot};

/// What came between Begin and End.
#[derive(Debug, Default)]
pub struct Batch {
    full: bool,
    changes: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Put(Box<Resource>),
    Unusable(String, String),
    Remove(ResourceName, bool),
}

/// A complete batch and what the controlplane stands at after it.
#[derive(Debug)]
pub struct Complete {
    batch: Batch,
    held: Held,
}

/// Puts a batch together from the messages of the feed.
#[derive(Debug, Default)]
pub struct Collector(Option<Batch>);

/// What the node says and does next.
pub struct Applied {
    /// The next snapshot.
    pub snapshot: Snapshot,
    /// What the batch stands at.
    pub version: u64,
    /// What could not be used: name and reason.
    pub rejects: Vec<(String, String)>,
    /// Routes that are gone, and whether their connections are cut at once.
    pub closed: Vec<(RouteId, bool)>,
}

impl Complete {
    /// A full batch of these messages.
    pub fn full(messages: Vec<ToNode>, held: Held) -> Self {
        let mut batch = Batch { full: true, changes: Vec::with_capacity(messages.len()) };
        messages.into_iter().for_each(|message| batch.take(message));
        Self { batch, held }
    }
}

impl Batch {
    fn take(&mut self, message: ToNode) {
        match message {
            ToNode::Put(resource) => self.changes.push(Change::Put(resource)),
            ToNode::Unusable(name, reason) => self.changes.push(Change::Unusable(name, reason.to_string())),
            ToNode::Remove { name, at_once } => self.changes.push(Change::Remove(name, at_once)),
            ToNode::Begin { .. }
            | ToNode::End(_)
            | ToNode::Heartbeat
            | ToNode::Directive { .. }
            | ToNode::Explain { .. }
            | ToNode::Unknown => {}
        }
    }
}

impl Collector {
    /// Takes a message; returns the batch when it is complete. What stands outside of a batch is dropped.
    pub fn take(&mut self, message: ToNode) -> Option<Complete> {
        match (message, &mut self.0) {
            (ToNode::Begin { full }, batch) => *batch = Some(Batch { full, changes: Vec::new() }),
            (ToNode::End(held), batch) => return batch.take().map(|batch| Complete { batch, held }),
            (message, Some(batch)) => batch.take(message),
            (_, None) => {}
        }
        None
    }

    /// Where the backends of the routes to come may be: as the settings of this very batch say, if it has some.
    pub fn allowed_backends(&self, current: &Snapshot) -> Prefixes {
        let changes = self.0.iter().flat_map(|batch| batch.changes.iter().rev());
        let settings = changes.filter_map(|change| match change {
            Change::Put(resource) => match &**resource {
                Resource::Settings(settings) => Some(settings.allowed_backends.clone()),
                Resource::Route(_)
                | Resource::Certificate(_)
                | Resource::Challenge(_)
                | Resource::TicketKeys(_) => None,
            },
            Change::Unusable(..) | Change::Remove(..) => None,
        });
        settings.into_iter().next().unwrap_or_else(|| current.allowed_backends())
    }
}

/// Applies a complete batch at `now` (Unix seconds).
pub fn apply(
    current: &Snapshot,
    complete: Complete,
    tickets: &Arc<dyn ProducesTickets>,
    now: i64,
) -> Applied {
    let Complete { batch, held } = complete;
    let mut next =
        Applied { snapshot: current.clone(), version: held.version, rejects: Vec::new(), closed: Vec::new() };
    if batch.full {
        next.drop_unnamed(&batch.changes);
    }
    for change in batch.changes {
        match change {
            Change::Put(resource) => next.put(*resource, tickets, now),
            Change::Unusable(name, reason) => next.reject(name, reason),
            Change::Remove(name, at_once) => next.remove(&name, at_once),
        }
    }
    next.stand_at(held);
    next
}

impl Applied {
    fn put(&mut self, resource: Resource, tickets: &Arc<dyn ProducesTickets>, now: i64) {
        let name = resource.name().to_string();
        match resource {
            Resource::Settings(settings) => self.snapshot.settings = Some(Arc::new(settings)),
            Resource::Route(route) => self.snapshot.routes.insert(route),
            Resource::Certificate(cert) => match ServedCert::load(&cert, tickets, now) {
                Ok(cert) => self.snapshot.certs.insert(cert),
                Err(error) => return self.reject(name, error.to_string()),
            },
            // Each process has keys of its own still.
            Resource::TicketKeys(_) => {}
            Resource::Challenge(challenge) => {
                if let Err(error) = self.snapshot.challenges.insert(&challenge) {
                    return self.reject(name, error.to_string());
                }
            }
        }
        self.snapshot.rejected.remove(&name);
    }

    fn reject(&mut self, name: String, reason: String) {
        self.snapshot.rejected.insert(name.clone());
        self.rejects.push((name, reason));
    }

    fn remove(&mut self, name: &ResourceName, at_once: bool) {
        self.snapshot.rejected.remove(&name.to_string());
        match name {
            // There is always a base domain; a controlplane that takes it back is not obeyed.
            ResourceName::Settings | ResourceName::TicketKeys => {}
            ResourceName::Certificate(id) => self.snapshot.certs.remove(id),
            ResourceName::Challenge(host) => self.snapshot.challenges.remove(host),
            ResourceName::Route(id) => {
                if self.snapshot.routes.remove(id).is_some() {
                    self.closed.push((*id, at_once));
                }
            }
        }
    }

    /// A full batch names everything there is.
    fn drop_unnamed(&mut self, changes: &[Change]) {
        let mut named: HashSet<ResourceName> = HashSet::with_capacity(changes.len());
        for change in changes {
            match change {
                Change::Put(resource) => named.insert(resource.name()),
                Change::Unusable(name, _) => name.parse().is_ok_and(|name| named.insert(name)),
                Change::Remove(..) => false,
            };
        }
        let unnamed: Vec<ResourceName> = self.snapshot.names().filter(|name| !named.contains(name)).collect();
        for name in unnamed {
            self.remove(&name, false);
        }
        self.snapshot.rejected.clear();
    }

    /// A version of which something was rejected is not held: what was rejected comes again after a reconnect.
    fn stand_at(&mut self, held: Held) {
        if self.snapshot.rejected.is_empty() {
            self.snapshot.held = Some(held);
        } else if self.snapshot.held.as_ref().is_some_and(|old| old.epoch != held.epoch) {
            self.snapshot.held = None;
        }
    }
}

#[cfg(test)]
mod tests;
