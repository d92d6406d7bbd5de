//! The only place that touches generated types: wire messages in, domain types out, and the reverse.

use bytes::Bytes;
use thiserror::Error;
use zeroize::Zeroizing;

use super::resource::{Challenge, ChallengeResponse, FeedRoute, Held, Resource, ResourceName, Settings};
use super::wire;
use crate::model::{
    Backends, Balance, Certificate, CertificateId, Destination, Host, InvalidBackends, InvalidCertificate,
    InvalidHost, Mode, Prefixes, RouteId,
};

/// Why a message of the feed cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidMessage {
    /// Its name does not fit what it carries.
    #[error("the resource is named `{0}`, which is not what it carries")]
    Name(String),
    /// A route's id is not 16 bytes.
    #[error("the route id has {0} bytes instead of 16")]
    RouteId(usize),
    /// A host that is none.
    #[error("invalid host: {0}")]
    Host(#[from] InvalidHost),
    /// Backends that are none, or not allowed.
    #[error("invalid backends: {0}")]
    Backends(#[from] InvalidBackends),
    /// An enum value this build does not know.
    #[error("{0} {1} is not known to this build")]
    Enum(&'static str, i32),
    /// A certificate that is none.
    #[error("invalid certificate: {0}")]
    Certificate(#[from] InvalidCertificate),
    /// A prefix that is none.
    #[error("`{0}` is not an address prefix")]
    Prefix(String),
    /// An API call or answer that is no HTTP.
    #[error("invalid {0} in an API call")]
    Call(&'static str),
}

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
    Unusable(String, InvalidMessage),
    /// A resource to drop.
    Remove {
        /// Which.
        name: ResourceName,
        /// Whether its connections are cut at once.
        at_once: bool,
    },
    /// The batch ends here: apply it.
    End(Held),
    /// The controlplane lives.
    Heartbeat,
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
            Some(Message::Put(wire::Put { resource: Some(resource) })) => read_resource(resource, allowed),
            Some(Message::Remove(remove)) => match remove.name.parse() {
                Ok(name) => Self::Remove { name, at_once: remove.at_once },
                Err(()) => Self::Unknown,
            },
            Some(Message::End(end)) => Self::End(Held { epoch: end.epoch, version: end.version }),
            Some(Message::Heartbeat(_)) => Self::Heartbeat,
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
            Self::Put(resource) => Some(Message::Put(wire::Put { resource: Some(write_resource(resource)) })),
            Self::Remove { name, at_once } => {
                Some(Message::Remove(wire::Remove { name: name.to_string(), at_once: *at_once }))
            }
            Self::End(held) => {
                Some(Message::End(wire::End { epoch: held.epoch.clone(), version: held.version }))
            }
            Self::Heartbeat => Some(Message::Heartbeat(wire::Heartbeat {})),
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
        held: Option<Held>,
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
    },
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
                held: hello.held.map(|held| Held { epoch: held.epoch, version: held.version }),
            },
            Some(Message::Ack(ack)) => Self::Ack(ack.version),
            Some(Message::Reject(r)) => {
                Self::Reject { version: r.version, resource: r.resource, reason: r.reason }
            }
            Some(Message::Heartbeat(_)) => Self::Heartbeat,
            Some(Message::Status(s)) => Self::Status { connections: s.connections, requests: s.requests },
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
            FromNode::Status { connections, requests } => {
                Some(Message::Status(wire::Status { connections, requests }))
            }
            FromNode::Unknown => None,
        };
        Self { message }
    }
}

fn read_resource(resource: wire::Resource, allowed: &Prefixes) -> ToNode {
    use wire::resource::Kind;
    let name = resource.name;
    let read = match resource.kind {
        Some(Kind::Route(route)) => read_route(route, allowed).map(Resource::Route),
        Some(Kind::Certificate(cert)) => read_certificate(&name, cert).map(Resource::Certificate),
        Some(Kind::Settings(settings)) => read_settings(settings).map(Resource::Settings),
        Some(Kind::Challenge(challenge)) => match read_challenge(challenge) {
            Ok(Some(challenge)) => Ok(Resource::Challenge(challenge)),
            // A kind of challenge this build does not know.
            Ok(None) => return ToNode::Unknown,
            Err(error) => Err(error),
        },
        None => return ToNode::Unknown,
    };
    match read {
        Ok(resource) if resource.name().to_string() == name => ToNode::Put(Box::new(resource)),
        Ok(_) => ToNode::Unusable(name.clone(), InvalidMessage::Name(name)),
        Err(error) => ToNode::Unusable(name, error),
    }
}

fn read_route(route: wire::Route, allowed: &Prefixes) -> Result<FeedRoute, InvalidMessage> {
    let id: [u8; 16] = route.id.as_ref().try_into().map_err(|_| InvalidMessage::RouteId(route.id.len()))?;
    let mode = match wire::Mode::try_from(route.mode) {
        Ok(wire::Mode::Terminate) => Mode::Terminate,
        Ok(wire::Mode::Passthrough) => Mode::Passthrough,
        Err(_) => return Err(InvalidMessage::Enum("mode", route.mode)),
    };
    let balance = match wire::Balance::try_from(route.balance) {
        Ok(wire::Balance::RoundRobin) => Balance::RoundRobin,
        Ok(wire::Balance::Random) => Balance::Random,
        Err(_) => return Err(InvalidMessage::Enum("balance", route.balance)),
    };
    let backends = Backends::parse(&route.backends, allowed)?;
    Ok(FeedRoute {
        id: RouteId::from_bytes(id),
        host: Host::parse(&route.host)?,
        destination: Destination { mode, balance, backends },
    })
}

fn read_certificate(name: &str, cert: wire::Certificate) -> Result<Certificate, InvalidMessage> {
    let id = name.strip_prefix("certificate/").ok_or_else(|| InvalidMessage::Name(name.to_owned()))?;
    let names: Result<Vec<_>, InvalidHost> = cert.names.iter().map(|name| name.parse()).collect();
    let names = names.map_err(InvalidCertificate::from)?;
    if names.is_empty() {
        return Err(InvalidCertificate::NoNames.into());
    }
    if cert.chain.is_empty() || cert.key.is_empty() {
        return Err(InvalidCertificate::Incomplete.into());
    }
    Ok(Certificate {
        id: CertificateId::parse(id)?,
        names,
        chain: cert.chain.iter().map(|der| der.to_vec()).collect(),
        key: Zeroizing::new(cert.key.to_vec()),
    })
}

fn read_settings(settings: wire::Settings) -> Result<Settings, InvalidMessage> {
    let parse = |text: &String| text.parse().map_err(|_| InvalidMessage::Prefix(text.clone()));
    let prefixes: Result<Vec<_>, _> = settings.allowed_backends.iter().map(parse).collect();
    Ok(Settings {
        base_domain: Host::parse(&settings.base_domain)?,
        allowed_backends: Prefixes::new(prefixes?),
    })
}

fn read_challenge(challenge: wire::Challenge) -> Result<Option<Challenge>, InvalidMessage> {
    use wire::challenge::Response;
    let response = match challenge.response {
        Some(Response::TlsAlpn(tls)) => ChallengeResponse::TlsAlpn {
            certificate: tls.certificate.to_vec(),
            key: Zeroizing::new(tls.key.to_vec()),
        },
        Some(Response::Http(http)) => {
            ChallengeResponse::Http { token: http.token, key_authorization: http.key_authorization }
        }
        None => return Ok(None),
    };
    Ok(Some(Challenge { host: Host::parse(&challenge.host)?, response }))
}

fn write_challenge(challenge: &Challenge) -> wire::Challenge {
    use wire::challenge::Response;
    let response = match &challenge.response {
        ChallengeResponse::TlsAlpn { certificate, key } => Response::TlsAlpn(wire::TlsAlpn {
            certificate: Bytes::copy_from_slice(certificate),
            key: Bytes::copy_from_slice(key),
        }),
        ChallengeResponse::Http { token, key_authorization } => Response::Http(wire::HttpToken {
            token: token.clone(),
            key_authorization: key_authorization.clone(),
        }),
    };
    wire::Challenge { host: challenge.host.to_string(), response: Some(response) }
}

fn write_resource(resource: &Resource) -> wire::Resource {
    use wire::resource::Kind;
    let kind = match resource {
        Resource::Route(route) => Kind::Route(write_route(route)),
        Resource::Challenge(challenge) => Kind::Challenge(write_challenge(challenge)),
        Resource::Certificate(cert) => Kind::Certificate(wire::Certificate {
            names: cert.names.iter().map(ToString::to_string).collect(),
            chain: cert.chain.iter().map(|der| Bytes::copy_from_slice(der)).collect(),
            key: Bytes::copy_from_slice(&cert.key),
        }),
        Resource::Settings(settings) => Kind::Settings(wire::Settings {
            base_domain: settings.base_domain.to_string(),
            allowed_backends: settings.allowed_backends.iter().map(ToString::to_string).collect(),
        }),
    };
    wire::Resource { name: resource.name().to_string(), kind: Some(kind) }
}

fn write_route(route: &FeedRoute) -> wire::Route {
    let mode = match route.destination.mode {
        Mode::Terminate => wire::Mode::Terminate,
        Mode::Passthrough => wire::Mode::Passthrough,
    };
    let balance = match route.destination.balance {
        Balance::RoundRobin => wire::Balance::RoundRobin,
        Balance::Random => wire::Balance::Random,
    };
    wire::Route {
        id: Bytes::copy_from_slice(route.id.as_bytes()),
        host: route.host.to_string(),
        mode: mode.into(),
        balance: balance.into(),
        backends: route.destination.backends.as_slice().iter().map(ToString::to_string).collect(),
    }
}

#[cfg(test)]
mod tests;
