//! Conversions between the wire messages of the feed, which are generated types, and domain types.

mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod options;
mod report;
mod resources;
pub mod stored;
mod traffic;

pub use self::error::InvalidMessageError;
use super::report::{BackendHealth, Explanation};
use super::resource::{FeedVersion, Resource, ResourceName};
use super::traffic::{AccessLines, TrafficReport};
use super::wire;
use crate::model::{Host, Prefixes, ProcessListeners, RouteId};

/// A message from the controlplane to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToNode {
    /// The start of a batch.
    Begin {
        /// True if the batch contains every resource; the node then drops all others.
        full: bool,
    },
    /// A resource to add or replace. Boxed, because a certificate is large.
    Put(Box<Resource>),
    /// The name of a resource that this build cannot use, and the error.
    Unusable(String, InvalidMessageError),
    /// A resource to drop. In a full batch it only requests that the resource's connections are closed.
    Remove {
        /// The name of the resource.
        name: ResourceName,
        /// True if its connections are closed at once.
        at_once: bool,
    },
    /// The end of a batch, which the node then applies.
    End(FeedVersion),
    /// A heartbeat of the controlplane.
    Heartbeat,
    /// The operator's directive for the node.
    Directive {
        /// True if the node is to be drained.
        drain: bool,
    },
    /// A request for the state of a host on the node.
    Explain {
        /// The id of the request, which the reply repeats.
        id: u64,
        /// The host name.
        host: Host,
    },
    /// The acknowledgement of the traffic report with this number.
    TrafficAck(u64),
    /// The routes whose access log is followed, instead of those before.
    Follow(Vec<RouteId>),
    /// A message of a newer controlplane that this build does not know.
    Unknown,
}

impl ToNode {
    /// Converts a wire message. Routes with a backend outside `allowed` become [`Unusable`](Self::Unusable).
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
            Some(Message::TrafficAck(ack)) => Self::TrafficAck(ack.sequence),
            Some(Message::Follow(follow)) => Self::Follow(traffic::read_ids(&follow.routes)),
            Some(Message::Put(wire::Put { resource: None })) | None => Self::Unknown,
        }
    }

    /// Converts the message to its wire form.
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
            Self::TrafficAck(sequence) => Some(Message::TrafficAck(wire::TrafficAck { sequence: *sequence })),
            Self::Follow(routes) => {
                let routes = routes.iter().map(traffic::write_id).collect();
                Some(Message::Follow(wire::Follow { routes }))
            }
            Self::Unusable(..) | Self::Unknown => None,
        };
        wire::FeedMessage { message }
    }
}

/// A message from a node to the controlplane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromNode {
    /// The first message of a stream.
    Hello {
        /// The node's name.
        node: String,
        /// The version of the node's build.
        build: String,
        /// The version that the node has applied; `None` on a cold start.
        held: Option<FeedVersion>,
    },
    /// The acknowledgement of the batch that ended with this version.
    Ack(u64),
    /// The rejection of one resource of a batch.
    Reject {
        /// The version at the end of the batch.
        version: u64,
        /// The resource's name, as the controlplane sent it.
        resource: String,
        /// The reason.
        reason: String,
    },
    /// A heartbeat of the node.
    Heartbeat,
    /// The load of the node.
    Status {
        /// The number of open client connections.
        connections: u64,
        /// The number of requests served since the node's start.
        requests: u64,
        /// True if the node drains.
        draining: bool,
    },
    /// The backends whose health changed. The first message of a stream contains all that are down.
    Health(Vec<BackendHealth>),
    /// The reply to [`ToNode::Explain`]. Boxed, because it is rare.
    Explanation(Box<Explanation>),
    /// The listeners of the node.
    Listeners(ProcessListeners),
    /// The traffic since the last report.
    Traffic(TrafficReport),
    /// Lines of the access log of a followed route.
    AccessLines(AccessLines),
    /// A message of a newer node that this build does not know.
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
            Some(Message::Traffic(report)) => Self::Traffic(traffic::read_report(report)),
            Some(Message::AccessLines(lines)) => {
                traffic::read_lines(lines).map_or(Self::Unknown, Self::AccessLines)
            }
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
            FromNode::Traffic(report) => Some(Message::Traffic(traffic::write_report(&report))),
            FromNode::AccessLines(lines) => Some(Message::AccessLines(traffic::write_lines(&lines))),
            FromNode::Unknown => None,
        };
        Self { message }
    }
}

#[cfg(test)]
mod tests;
