//! The resources of the feed and their names, and the calls that a node forwards to the controlplane.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use zeroize::Zeroizing;

use crate::model::{Certificate, CertificateId, Destination, Host, Prefixes, ProcessListeners, RouteId};

/// A resource of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// A host and its backends.
    Route(FeedRoute),
    /// A certificate chain with its private key.
    Certificate(Certificate),
    /// The settings of the whole gateway.
    Settings(Settings),
    /// The response to an ACME challenge.
    Challenge(Challenge),
    /// The keys that encrypt TLS session tickets.
    TicketKeys(TicketKeys),
}

impl Resource {
    /// Returns the resource's name.
    #[must_use]
    pub fn name(&self) -> ResourceName {
        match self {
            Self::Route(route) => ResourceName::Route(route.id),
            Self::Certificate(cert) => ResourceName::Certificate(cert.id.clone()),
            Self::Settings(_) => ResourceName::Settings,
            Self::Challenge(challenge) => ResourceName::Challenge(challenge.host.clone()),
            Self::TicketKeys(_) => ResourceName::TicketKeys,
        }
    }
}

/// A route as a node needs it, without owner and times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedRoute {
    /// The route's id.
    pub id: RouteId,
    /// The route's host.
    pub host: Host,
    /// The backends of the host, and how they are reached.
    pub destination: Destination,
}

/// The settings of the whole gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The operator's base domain.
    pub base_domain: Host,
    /// The prefixes that every backend must be in.
    pub allowed_backends: Prefixes,
    /// The listeners of the controlplane and of the nodes, as far as they are known. No backend may be at one of them.
    pub listeners: Vec<ProcessListeners>,
}

/// The keys for TLS session tickets on every node. The first key encrypts new tickets; every key decrypts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketKeys(pub Vec<TicketKey>);

/// A key for TLS session tickets.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketKey {
    /// The key's name, with which each ticket begins.
    pub name: [u8; 16],
    /// The secret for AES-256-GCM.
    pub secret: Zeroizing<[u8; 32]>,
}

/// A response to an ACME challenge (RFC 8555 §8), which every node gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// The host to be validated.
    pub host: Host,
    /// The response to the CA.
    pub response: ChallengeResponse,
}

/// The response to a challenge.
#[derive(Clone, PartialEq, Eq)]
pub enum ChallengeResponse {
    /// TLS-ALPN-01 (RFC 8737): the certificate for handshakes whose only ALPN protocol is `acme-tls/1`.
    TlsAlpn {
        /// The certificate, in DER.
        certificate: Vec<u8>,
        /// The private key, in PKCS#8 DER.
        key: Zeroizing<Vec<u8>>,
    },
    /// HTTP-01 (RFC 8555 §8.3): the response to `/.well-known/acme-challenge/<token>` on port 80.
    Http {
        /// The last segment of the path, in base64url.
        token: String,
        /// The response body.
        key_authorization: String,
    },
}

/// The name of a resource: `route/<uuid>`, `certificate/<id>`, `challenge/<host>`, `settings`, `ticket-keys`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceName {
    /// The name `settings`.
    Settings,
    /// The name `ticket-keys`.
    TicketKeys,
    /// A name `certificate/<id>`.
    Certificate(CertificateId),
    /// A name `challenge/<host>`.
    Challenge(Host),
    /// A name `route/<uuid>`.
    Route(RouteId),
}

impl fmt::Debug for ChallengeResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TlsAlpn { .. } => "TlsAlpn(…)",
            Self::Http { .. } => "Http(…)",
        })
    }
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKey(…)")
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings => f.write_str("settings"),
            Self::TicketKeys => f.write_str("ticket-keys"),
            Self::Certificate(id) => write!(f, "certificate/{id}"),
            Self::Challenge(host) => write!(f, "challenge/{host}"),
            Self::Route(id) => write!(f, "route/{id}"),
        }
    }
}

impl FromStr for ResourceName {
    type Err = ();

    /// Parses a name. Fails on a kind that this build does not know; such resources are skipped.
    fn from_str(text: &str) -> Result<Self, ()> {
        match text.split_once('/') {
            None if text == "settings" => Ok(Self::Settings),
            None if text == "ticket-keys" => Ok(Self::TicketKeys),
            Some(("route", id)) => id.parse().map(Self::Route).map_err(drop),
            Some(("certificate", id)) => CertificateId::parse(id).map(Self::Certificate).map_err(drop),
            Some(("challenge", host)) => Host::parse(host).map(Self::Challenge).map_err(drop),
            None | Some(_) => Err(()),
        }
    }
}

/// The version of the data that a node has applied: a database and its revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedVersion {
    /// The identity of the controlplane's database.
    pub epoch: String,
    /// The revision of the database.
    pub version: u64,
}

/// An API request that a node received for the base domain.
#[derive(Debug, Clone)]
pub struct ApiCall {
    /// The request; its URI is absolute (`https://<authority>/<path>`).
    pub request: http::Request<Bytes>,
    /// The client's address.
    pub client: std::net::IpAddr,
}

/// The controlplane's response to an [`ApiCall`].
pub type ApiReply = http::Response<Bytes>;

/// A DNS message that a node received (RFC 1035 §4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The message, unchanged.
    pub message: Bytes,
    /// The client's address.
    pub client: std::net::IpAddr,
    /// True if the message came over TCP, so that its answer may be larger than a UDP message.
    pub tcp: bool,
}
