//! The same resources from a JSON file, so that a dataplane runs without a controlplane; SIGHUP reads it anew.

use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde::Deserialize;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};
use webgateway_process::Stop;
use webgateway_proto::feed::{FeedRoute, FeedVersion, Resource, Settings, ToNode};
use webgateway_proto::model::{
    Backends, Certificate, CertificateId, Destination, Host, InvalidBackendsError, InvalidCertificateError,
    InvalidHostError, InvalidRouteIdError, Mode, Prefixes, RouteOptions, UnsuitableOptionError,
};

use super::Publisher;
use super::apply::Complete;

/// What may stand in the file; any larger one is refused.
const MAX_FILE: u64 = 1 << 30;

/// Why the file cannot be used; what was loaded before stays.
#[derive(Debug, Error)]
pub(crate) enum InvalidFile {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no JSON of this form.
    #[error("{}: {source}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A route's id.
    #[error("route {0}: {1}")]
    RouteId(String, InvalidRouteIdError),
    /// A route's host.
    #[error("route {0}: {1}")]
    Host(String, InvalidHostError),
    /// A route's backends.
    #[error("route {0}: {1}")]
    Backends(String, InvalidBackendsError),
    /// A route's options.
    #[error("route {0}: {1}")]
    Options(String, UnsuitableOptionError),
    /// A certificate.
    #[error("certificate {0}: {1}")]
    Certificate(String, InvalidCertificateError),
    /// A certificate's PEM.
    #[error("certificate {0}: its {1} is not PEM")]
    Pem(String, &'static str),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: u64,
    settings: FileSettings,
    #[serde(default)]
    certificates: Vec<FileCertificate>,
    #[serde(default)]
    routes: Vec<FileRoute>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSettings {
    base_domain: Host,
    #[serde(default)]
    allowed_backends: Prefixes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileCertificate {
    id: String,
    names: Vec<String>,
    chain: String,
    key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRoute {
    id: String,
    host: String,
    #[serde(default)]
    mode: Mode,
    backends: Vec<String>,
    #[serde(flatten)]
    options: RouteOptions,
}

/// Loads `path` at the start, and again on SIGHUP; fails only if it cannot be used at the start.
pub(crate) async fn run(path: PathBuf, mut publisher: Publisher, stop: Stop) -> Result<(), InvalidFile> {
    publisher.publish(load(&path)?);
    let hangup = signal(SignalKind::hangup());
    let mut hangup = hangup.map_err(|source| InvalidFile::Unreadable { path: path.clone(), source })?;
    loop {
        tokio::select! {
            _ = hangup.recv() => {}
            () = stop.begun() => return Ok(()),
        }
        match load(&path) {
            Ok(complete) => {
                let version = publisher.publish(complete).version;
                info!(version, "loaded {}", path.display());
            }
            Err(error) => warn!(%error, "what was loaded before stays"),
        }
    }
}

/// Reads the file as one full batch.
pub(crate) fn load(path: &Path) -> Result<Complete, InvalidFile> {
    let unreadable = |source| InvalidFile::Unreadable { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(unreadable)?.len() > MAX_FILE {
        return Err(unreadable(std::io::ErrorKind::FileTooLarge.into()));
    }
    let text = std::fs::read(path).map_err(unreadable)?;
    let contents: Contents = serde_json::from_slice(&text)
        .map_err(|source| InvalidFile::Syntax { path: path.to_owned(), source })?;
    let mut messages = Vec::with_capacity(contents.certificates.len() + contents.routes.len() + 1);
    let allowed = contents.settings.allowed_backends.clone();
    let settings = Settings {
        base_domain: contents.settings.base_domain,
        allowed_backends: allowed.clone(),
        listeners: vec![],
    };
    messages.push(put(Resource::Settings(settings)));
    for cert in contents.certificates {
        messages.push(put(Resource::Certificate(read_certificate(cert)?)));
    }
    for route in contents.routes {
        messages.push(put(Resource::Route(read_route(route, &allowed)?)));
    }
    Ok(Complete::full(messages, FeedVersion { epoch: "file".to_owned(), version: contents.version }))
}

fn put(resource: Resource) -> ToNode {
    ToNode::Put(Box::new(resource))
}

fn read_route(route: FileRoute, allowed: &Prefixes) -> Result<FeedRoute, InvalidFile> {
    let name = route.host.clone();
    let backends = Backends::parse(&route.backends, allowed);
    let backends = backends.map_err(|e| InvalidFile::Backends(name.clone(), e))?;
    Ok(FeedRoute {
        id: route.id.parse().map_err(|e| InvalidFile::RouteId(name.clone(), e))?,
        host: Host::parse(&route.host).map_err(|e| InvalidFile::Host(name.clone(), e))?,
        destination: Destination::new(route.mode, backends, route.options)
            .map_err(|e| InvalidFile::Options(name, e))?,
    })
}

fn read_certificate(cert: FileCertificate) -> Result<Certificate, InvalidFile> {
    let invalid = |e: InvalidCertificateError| InvalidFile::Certificate(cert.id.clone(), e);
    let pem = |what| InvalidFile::Pem(cert.id.clone(), what);
    let names: Result<Vec<_>, InvalidHostError> = cert.names.iter().map(|name| name.parse()).collect();
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(cert.chain.as_bytes()).collect();
    let chain = chain.map_err(|_| pem("chain"))?;
    let key = PrivatePkcs8KeyDer::from_pem_slice(cert.key.as_bytes()).map_err(|_| pem("key"))?;
    Ok(Certificate {
        id: CertificateId::parse(&cert.id).map_err(invalid)?,
        names: names.map_err(|e| invalid(e.into()))?,
        chain: chain.iter().map(|der| der.to_vec()).collect(),
        key: key.secret_pkcs8_der().to_vec().into(),
    })
}
