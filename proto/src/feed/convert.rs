//! The only place that touches generated types: wire messages in, domain types out, and the reverse.

mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod options;
mod report;
mod resources;
pub mod stored;

pub use self::error::InvalidMessageError;
use super::report::{BackendHealth, Explanation};
use super::resource::{FeedVersion, Resource, ResourceName};
use super::wire;
use crate::model::{Host, Prefixes, ProcessListeners};

/// A message that a node got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToNode {
    /// A batch begins; `full` means that what it does not name is dropped.
    Begin {
        /// Whether it names everything there is.
        full: bool,
    },
    /// A resource to hold. Boxed: a certificate is large.
    Put(Box<Resource>),
    /// A resource that cannot be used, by name, and why.
    Unusable(String, InvalidMessageError),
    /// A resource to drop. In a full batch, which drops what it does not name, this says that connections are cut.
    Remove {
        /// Which.
        name: ResourceName,
        /// Whether its connections are cut at once.
        at_once: bool,
    },
    /// The batch ends here: apply it.
    End(FeedVersion),
    /// The controlplane lives.
    Heartbeat,
    /// Whether the operator wants the node drained.
    Directive {
        /// Whether.
        drain: bool,
    },
    /// A question how a host looks from here.
    Explain {
        /// Comes back in the answer.
        id: u64,
        /// The host.
        host: Host,
    },
    /// Something a newer controlplane says.
    Unknown,
}

impl ToNode {
    /// Reads a wire message. `allowed` bounds the backends that are taken.
    #[must_use]
    pub fn read(message: wire::FeedMessage, allowed: &Prefixes) -> Self {
        use wire::feed_message::Message;
        match message.message {
            Some(Message::Begin(begin)) => Self::Begin { full: begin.kind() == wire::begin::Kind::Full },
            Some(Message::Put(wire::Put { resource: Some(resource) })) => {
                let name = resource.name.clone();
                match resources::read(resource, allowed) {
                    Ok(Some(resource)) => Self::Put(Box::new(resource)),
                    Ok(None) => Self::Unknown,
                    Err(invalid) => Self::Unusable(name, invalid),
                }
            }
            Some(Message::Remove(remove)) => match remove.name.parse() {
                Ok(name) => Self::Remove { name, at_once: remove.at_once },
                Err(()) => Self::Unknown,
            },
            Some(Message::End(end)) => Self::End(FeedVersion { epoch: end.epoch, version: end.version }),
            Some(Message::Heartbeat(_)) => Self::Heartbeat,
            Some(Message::Directive(directive)) => Self::Directive { drain: directive.drain },
            Some(Message::Explain(explain)) => match Host::parse(&explain.host) {
                Ok(host) => Self::Explain { id: explain.id, host },
                Err(_) => Self::Unknown,
            },
            Some(Message::Put(wire::Put { resource: None })) | None => Self::Unknown,
        }
    }

    /// Writes the message for the wire.
    #[must_use]
    pub fn write(&self) -> wire::FeedMessage {
        use wire::feed_message::Message;
        let message = match self {
            Self::Begin { full } => {
                let kind = if *full { wire::begin::Kind::Full } else { wire::begin::Kind::Delta };
                Some(Message::Begin(wire::Begin { kind: kind.into() }))
            }
            Self::Put(resource) => {
                Some(Message::Put(wire::Put { resource: Some(resources::write(resource)) }))
            }
            Self::Remove { name, at_once } => {
                Some(Message::Remove(wire::Remove { name: name.to_string(), at_once: *at_once }))
            }
            Self::End(held) => {
                Some(Message::End(wire::End { epoch: held.epoch.clone(), version: held.version }))
            }
            Self::Heartbeat => Some(Message::Heartbeat(wire::Heartbeat {})),
            Self::Directive { drain } => Some(Message::Directive(wire::Directive { drain: *drain })),
            Self::Explain { id, host } => {
                Some(Message::Explain(wire::Explain { id: *id, host: host.to_string() }))
            }
            Self::Unusable(..) | Self::Unknown => None,
        };
        wire::FeedMessage { message }
    }
}

/// A message that the controlplane got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromNode {
    /// Who is there and what it holds.
    Hello {
        /// The node's name.
        node: String,
        /// Its version.
        build: String,
        /// What it stands at; `None` on a cold start.
        held: Option<FeedVersion>,
    },
    /// The batch that ended with this version is in use.
    Ack(u64),
    /// One resource of a batch cannot be used.
    Reject {
        /// The version the batch ended with.
        version: u64,
        /// Its name, as the controlplane sent it.
        resource: String,
        /// Why.
        reason: String,
    },
    /// The node lives.
    Heartbeat,
    /// How the node does.
    Status {
        /// Open connections.
        connections: u64,
        /// Requests answered since the start.
        requests: u64,
        /// Whether it drains.
        draining: bool,
    },
    /// Backends whose health changed; the first of a stream names all that are down.
    Health(Vec<BackendHealth>),
    /// The answer to an Explain. Boxed: it is rare.
    Explanation(Box<Explanation>),
    /// The listeners of the node.
    Listeners(ProcessListeners),
    /// Something a newer node says.
    Unknown,
}

impl From<wire::NodeMessage> for FromNode {
    fn from(message: wire::NodeMessage) -> Self {
        use wire::node_message::Message;
        match message.message {
            Some(Message::Hello(hello)) => Self::Hello {
                node: hello.node,
                build: hello.build,
                held: hello.held.map(|held| FeedVersion { epoch: held.epoch, version: held.version }),
            },
            Some(Message::Ack(ack)) => Self::Ack(ack.version),
            Some(Message::Reject(r)) => {
                Self::Reject { version: r.version, resource: r.resource, reason: r.reason }
            }
            Some(Message::Heartbeat(_)) => Self::Heartbeat,
            Some(Message::Status(s)) => {
                Self::Status { connections: s.connections, requests: s.requests, draining: s.draining }
            }
            Some(Message::Health(health)) => Self::Health(report::read_health(health.changed)),
            Some(Message::Listeners(listeners)) => Self::Listeners(report::read_listeners(listeners)),
            Some(Message::Explanation(explanation)) => match report::read_explanation(explanation) {
                Some(explanation) => Self::Explanation(Box::new(explanation)),
                None => Self::Unknown,
            },
            None => Self::Unknown,
        }
    }
}

impl From<FromNode> for wire::NodeMessage {
    fn from(message: FromNode) -> Self {
        use wire::node_message::Message;
        let message = match message {
            FromNode::Hello { node, build, held } => {
                let held = held.map(|held| wire::Held { epoch: held.epoch, version: held.version });
                Some(Message::Hello(wire::Hello { node, build, held }))
            }
            FromNode::Ack(version) => Some(Message::Ack(wire::Ack { version })),
            FromNode::Reject { version, resource, reason } => {
                Some(Message::Reject(wire::Reject { version, resource, reason }))
            }
            FromNode::Heartbeat => Some(Message::Heartbeat(wire::Heartbeat {})),
            FromNode::Status { connections, requests, draining } => {
                Some(Message::Status(wire::Status { connections, requests, draining }))
            }
            FromNode::Health(changed) => {
                let changed = report::write_health(&changed);
                Some(Message::Health(wire::Health { changed }))
            }
            FromNode::Explanation(explanation) => {
                Some(Message::Explanation(report::write_explanation(&explanation)))
            }
            FromNode::Listeners(listeners) => Some(Message::Listeners(report::write_listeners(&listeners))),
            FromNode::Unknown => None,
        };
        Self { message }
    }
}

#[cfg(test)]
mod tests;
