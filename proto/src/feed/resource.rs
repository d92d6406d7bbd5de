//! The resources a node holds, and the names they go by.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use crate::model::{Certificate, CertificateId, Destination, Host, Prefixes, RouteId};

/// One thing on the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// One host and where it goes.
    Route(FeedRoute),
    /// One chain with its key.
    Certificate(Certificate),
    /// What holds for the whole gateway.
    Settings(Settings),
}

impl Resource {
    /// The name it goes by.
    #[must_use]
    pub fn name(&self) -> ResourceName {
        match self {
            Self::Route(route) => ResourceName::Route(route.id),
            Self::Certificate(cert) => ResourceName::Certificate(cert.id.clone()),
            Self::Settings(_) => ResourceName::Settings,
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
}

/// The name of a resource: `route/<uuid>`, `certificate/<id>`, `settings`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceName {
    /// `settings`
    Settings,
    /// `certificate/<id>`
    Certificate(CertificateId),
    /// `route/<uuid>`
    Route(RouteId),
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings => f.write_str("settings"),
            Self::Certificate(id) => write!(f, "certificate/{id}"),
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
            Some(("route", id)) => id.parse().map(Self::Route).map_err(drop),
            Some(("certificate", id)) => CertificateId::parse(id).map(Self::Certificate).map_err(drop),
            None | Some(_) => Err(()),
        }
    }
}

/// What a node stands at: the identity of the database and the revision of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
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
