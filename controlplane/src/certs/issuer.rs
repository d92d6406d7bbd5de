//! Who issues certificates.

use thiserror::Error;
use time::OffsetDateTime;

use super::internal::InternalCa;
use super::schedule::Wanted;
use crate::store::certificates::Issued;

/// One of the ways to get a certificate.
#[derive(Debug, Clone)]
pub enum Issuer {
    /// The local CA.
    Internal(InternalCa),
}

/// Why a certificate was not issued.
#[derive(Debug, Error)]
pub enum NotIssued {
    /// The local CA could not make it.
    #[error("the internal CA cannot issue for {id}: {source}")]
    Internal {
        /// What the certificate would have been called.
        id: String,
        /// Why.
        source: rcgen::Error,
    },
}

impl Issuer {
    /// The word for it in the store.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Internal(_) => super::internal::NAME,
        }
    }

    /// Gets one certificate.
    pub async fn issue(&self, wanted: &Wanted, now: OffsetDateTime) -> Result<Issued, NotIssued> {
        match self {
            Self::Internal(ca) => ca
                .issue(wanted, now)
                .map_err(|source| NotIssued::Internal { id: wanted.id.to_string(), source }),
        }
    }
}
