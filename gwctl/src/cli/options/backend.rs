//! The flags for the protocol that the backends of a route speak.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use clap::Args;
use thiserror::Error;
use webgateway_proto::model::RouteOptionsPatch;
use webgateway_proto::model::options::backend_tls::MAX_CA_BYTES;
use webgateway_proto::model::options::{BackendProtocol, BackendTls, InvalidBackendTlsError};

use super::enum_parser;
use super::error::OptionError;

/// The flags of `backend_protocol` and `backend_tls`.
#[derive(Debug, Args)]
pub(super) struct BackendFlags {
    /// The protocol that the backends of a terminated route speak [default: http1]
    #[arg(long, value_parser = enum_parser::<BackendProtocol>())]
    backend_protocol: Option<BackendProtocol>,
    /// The name that the certificates of the backends must have, with --backend-protocol https or https-h2 [default:
    /// the route's host]. A --backend-tls flag also resets the others
    #[arg(long, value_name = "NAME")]
    backend_tls_server_name: Option<String>,
    /// A PEM file of 1 to 16 CA certificates, at most 64 KiB, one of which must have issued the certificates of the
    /// backends [default: the public CAs]
    #[arg(long, value_name = "FILE")]
    backend_tls_ca: Option<PathBuf>,
    /// Do not verify the certificates of the backends
    #[arg(long, conflicts_with = "backend_tls_ca")]
    backend_tls_insecure: bool,
}

/// A file of CA certificates that cannot be read.
#[derive(Debug, Error)]
#[error("cannot read `{}`: {source}", path.display())]
struct CaFileError {
    path: PathBuf,
    source: io::Error,
}

impl BackendFlags {
    /// Adds the flags to `patch`.
    pub(super) fn add_to(&self, patch: &mut RouteOptionsPatch) -> Result<(), OptionError> {
        patch.backend_protocol = self.backend_protocol.into();
        patch.backend_tls = self.tls()?.into();
        Ok(())
    }

    fn tls(&self) -> Result<Option<BackendTls>, OptionError> {
        let Self {
            backend_tls_server_name: name, backend_tls_ca: ca, backend_tls_insecure: insecure, ..
        } = self;
        if name.is_none() && ca.is_none() && !insecure {
            return Ok(None);
        }
        let read =
            |path: &PathBuf| read_ca(path).map_err(|error| OptionError::new("--backend-tls-ca", &error));
        let ca = ca.as_ref().map(read).transpose()?;
        let tls = BackendTls::new(name.as_deref(), ca.as_deref(), *insecure);
        tls.map(Some).map_err(|error| OptionError::new(flag_of(&error), &error))
    }
}

fn flag_of(error: &InvalidBackendTlsError) -> &'static str {
    match error {
        InvalidBackendTlsError::ServerName(_) => "--backend-tls-server-name",
        InvalidBackendTlsError::Ca(_) => "--backend-tls-ca",
        InvalidBackendTlsError::CaAndInsecure => "--backend-tls-insecure",
    }
}

/// Reads a file of CA certificates, one byte further than allowed at most.
fn read_ca(path: &Path) -> Result<String, CaFileError> {
    let mut text = Vec::new();
    let limit = u64::try_from(MAX_CA_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let read = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut text));
    read.map_err(|source| CaFileError { path: path.to_owned(), source })?;
    // The text around certificates may have any encoding.
    Ok(String::from_utf8_lossy(&text).into_owned())
}
