//! Resources from a JSON file, for a dataplane without a controlplane; SIGHUP reloads the file.

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
use super::apply::CompleteBatch;

/// The maximum size of the file, in bytes.
const MAX_FILE: u64 = 1 << 30;

/// The file cannot be used; the resources that were loaded before stay in use.
#[derive(Debug, Error)]
pub(crate) enum ResourceFileError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file is not JSON of the expected form.
    #[error("{}: {source}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The fault, with line and column.
        source: serde_json::Error,
    },
    /// A route's id is invalid.
    #[error("route {0}: {1}")]
    RouteId(String, InvalidRouteIdError),
    /// A route's host is invalid.
    #[error("route {0}: {1}")]
    Host(String, InvalidHostError),
    /// A route's backends are invalid.
    #[error("route {0}: {1}")]
    Backends(String, InvalidBackendsError),
    /// A route's options are invalid.
    #[error("route {0}: {1}")]
    Options(String, UnsuitableOptionError),
    /// A certificate's id or one of its names is invalid.
    #[error("certificate {0}: {1}")]
    Certificate(String, InvalidCertificateError),
    /// A certificate's chain or key is not PEM.
    #[error("certificate {0}: its {1} is not PEM")]
    Pem(String, &'static str),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResourceFile {
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

/// Publishes the resources in `path` at the start and after each SIGHUP; fails only if they cannot be used at the
/// start.
pub(crate) async fn run(
    path: PathBuf,
    mut publisher: Publisher,
    stop: Stop,
) -> Result<(), ResourceFileError> {
    publisher.publish(load(&path)?);
    let hangup = signal(SignalKind::hangup());
    let mut hangup = hangup.map_err(|source| ResourceFileError::Read { path: path.clone(), source })?;
    loop {
        tokio::select! {
            _ = hangup.recv() => {}
            () = stop.begun() => return Ok(()),
        }
        match load(&path) {
            Ok(batch) => {
                let version = publisher.publish(batch).version;
                info!(version, path = %path.display(), "feed file reloaded");
            }
            Err(error) => warn!(%error, "feed file not reloaded, keeping the resources loaded before"),
        }
    }
}

/// Reads the file as one full batch.
pub(crate) fn load(path: &Path) -> Result<CompleteBatch, ResourceFileError> {
    let unreadable = |source| ResourceFileError::Read { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(unreadable)?.len() > MAX_FILE {
        return Err(unreadable(std::io::ErrorKind::FileTooLarge.into()));
    }
    let text = std::fs::read(path).map_err(unreadable)?;
    let contents: ResourceFile = serde_json::from_slice(&text)
        .map_err(|source| ResourceFileError::Syntax { path: path.to_owned(), source })?;
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
    Ok(CompleteBatch::full(messages, FeedVersion { epoch: "file".to_owned(), version: contents.version }))
}

fn put(resource: Resource) -> ToNode {
    ToNode::Put(Box::new(resource))
}

fn read_route(route: FileRoute, allowed: &Prefixes) -> Result<FeedRoute, ResourceFileError> {
    let name = route.host.clone();
    let backends = Backends::parse(&route.backends, allowed).and_then(|own| {
        route.options.check_backends(allowed).map_err(|(_, error)| error)?;
        Ok(own)
    });
    let backends = backends.map_err(|e| ResourceFileError::Backends(name.clone(), e))?;
    Ok(FeedRoute {
        id: route.id.parse().map_err(|e| ResourceFileError::RouteId(name.clone(), e))?,
        host: Host::parse(&route.host).map_err(|e| ResourceFileError::Host(name.clone(), e))?,
        destination: Destination::new(route.mode, backends, route.options)
            .map_err(|e| ResourceFileError::Options(name, e))?,
    })
}

fn read_certificate(cert: FileCertificate) -> Result<Certificate, ResourceFileError> {
    let invalid = |e: InvalidCertificateError| ResourceFileError::Certificate(cert.id.clone(), e);
    let pem = |what| ResourceFileError::Pem(cert.id.clone(), what);
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
