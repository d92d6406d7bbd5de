//! The resources a node holds, and the names they go by.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use zeroize::Zeroizing;

use crate::model::{Certificate, CertificateId, Destination, Host, Prefixes, ProcessListeners, RouteId};

/// One thing on the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// One host and where it goes.
    Route(FeedRoute),
    /// One chain with its key.
    Certificate(Certificate),
    /// What holds for the whole gateway.
    Settings(Settings),
    /// What a CA is answered.
    Challenge(Challenge),
    /// What session tickets are sealed with.
    TicketKeys(TicketKeys),
}

impl Resource {
    /// The name it goes by.
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

/// A route as a node needs it: no owner, no times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedRoute {
    /// Its id.
    pub id: RouteId,
    /// Its host.
    pub host: Host,
    /// Where the host goes.
    pub destination: Destination,
}

/// What holds for the whole gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The operator's domain.
    pub base_domain: Host,
    /// Where backends may be.
    pub allowed_backends: Prefixes,
    /// The listeners of the controlplane and of the nodes, as far as they are known: no backend is there.
    pub listeners: Vec<ProcessListeners>,
}

/// What TLS session tickets are sealed with on every node: the first key makes them, each opens them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketKeys(pub Vec<TicketKey>);

/// A key that session tickets are sealed with.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketKey {
    /// At the head of each ticket.
    pub name: [u8; 16],
    /// For AES-256-GCM.
    pub secret: Zeroizing<[u8; 32]>,
}

/// How every node answers a CA that asks whether we hold a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// The host asked about.
    pub host: Host,
    /// The answer.
    pub response: ChallengeResponse,
}

/// The answer to a challenge.
#[derive(Clone, PartialEq, Eq)]
pub enum ChallengeResponse {
    /// TLS-ALPN-01 (RFC 8737): a certificate (DER) with its key (PKCS#8 DER) for handshakes that offer `acme-tls/1`
    /// alone.
    TlsAlpn {
        /// DER.
        certificate: Vec<u8>,
        /// PKCS#8 DER.
        key: Zeroizing<Vec<u8>>,
    },
    /// HTTP-01 (RFC 8555 §8.3): what `/.well-known/acme-challenge/<token>` answers on :80.
    Http {
        /// The last segment of the path: base64url.
        token: String,
        /// The body.
        key_authorization: String,
    },
}

/// The name of a resource: `route/<uuid>`, `certificate/<id>`, `challenge/<host>`, `settings`, `ticket-keys`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceName {
    /// `settings`
    Settings,
    /// `ticket-keys`
    TicketKeys,
    /// `certificate/<id>`
    Certificate(CertificateId),
    /// `challenge/<host>`
    Challenge(Host),
    /// `route/<uuid>`
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

    /// Fails on a kind this build does not know: such resources are skipped.
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

/// What a node stands at: the identity of the database and the revision of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedVersion {
    /// The identity of the controlplane's database.
    pub epoch: String,
    /// The revision.
    pub version: u64,
}

/// An API request that came to a node for the base domain.
#[derive(Debug, Clone)]
pub struct ApiCall {
    /// Its head; the URI is absolute (`https://<authority>/<path>`).
    pub request: http::Request<Bytes>,
    /// The visitor's address.
    pub client: std::net::IpAddr,
}

/// The controlplane's answer to an [`ApiCall`].
pub type ApiReply = http::Response<Bytes>;

/// A DNS message that came to a node (RFC 1035 §4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// As it came.
    pub message: Bytes,
    /// Who asked.
    pub client: std::net::IpAddr,
    /// Whether it came over TCP: the answer may be long.
    pub tcp: bool,
}
