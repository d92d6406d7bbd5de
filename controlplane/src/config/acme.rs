//! The ACME CAs: their directories and the gateway's accounts.

use std::fmt;
use std::path::PathBuf;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use thiserror::Error;
use zeroize::Zeroizing;

/// The directory URL of the default CA.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Base64url with or without padding, because CAs issue both.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The `[acme]` section of the configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AcmeSettings {
    email: Option<String>,
    profile: Option<String>,
    eab_kid: Option<String>,
    eab_hmac_key: Option<Secret>,
    fallback: Vec<Fallback>,
}

/// An entry of `[[acme.fallback]]`: a table, or only the URL.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "a directory URL, or a table with `directory` and, if need be, `root`, `email`, \
                               `profile`, `eab_kid`, `eab_hmac_key`"
)]
enum Fallback {
    Url(String),
    Table(FallbackTable),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FallbackTable {
    directory: String,
    root: Option<PathBuf>,
    email: Option<String>,
    profile: Option<String>,
    eab_kid: Option<String>,
    eab_hmac_key: Option<Secret>,
}

/// A secret text, which `Debug` does not show.
#[derive(Deserialize)]
#[serde(transparent)]
struct Secret(Zeroizing<String>);

/// A CA and the gateway's account there.
#[derive(Debug, Clone, PartialEq)]
pub struct CaConfig {
    /// The URL of its directory (RFC 8555 §7.1.1).
    pub directory: String,
    /// The PEM file with the roots of the CA's own server certificate; `None` for the system's roots.
    pub root: Option<PathBuf>,
    /// The contact e-mail address of the account.
    pub email: Option<String>,
    /// The certificate profile to request.
    pub profile: Option<String>,
    /// The external account binding, if the CA requires one.
    pub eab: Option<Eab>,
}

/// An external account binding (RFC 8555 §7.3.4).
#[derive(Clone, PartialEq)]
pub struct Eab {
    /// The key id.
    pub kid: String,
    /// The bytes of the HMAC key.
    pub hmac_key: Zeroizing<Vec<u8>>,
}

/// The configuration of a CA is invalid.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AcmeConfigError {
    /// The directory is not an https URL.
    #[error("`{key}`: `{url}` is not an https URL, such as {LETS_ENCRYPT}")]
    Directory {
        /// The configuration key.
        key: &'static str,
        /// The given value.
        url: String,
    },
    /// Two CAs have the same directory.
    #[error("`acme.fallback`: `{0}` is configured twice")]
    Duplicate(String),
    /// An external account binding is incomplete.
    #[error("`{missing}` is missing: `eab_kid` and `eab_hmac_key` go together")]
    IncompleteBinding {
        /// The missing configuration key.
        missing: &'static str,
    },
    /// The HMAC key is not base64url.
    #[error("`{0}` is not base64url: copy it exactly from the CA")]
    HmacKey(&'static str),
    /// The e-mail address is malformed.
    #[error("`{key}`: `{email}` is not an e-mail address")]
    Email {
        /// The configuration key.
        key: &'static str,
        /// The given value.
        email: String,
    },
    /// A key has no meaning with the internal CA.
    #[error("`{0}` needs certificates.module = \"acme\", which is \"internal\": leave it out")]
    UnusedKey(&'static str),
}

impl AcmeSettings {
    /// Returns the CAs in order of preference.
    pub(super) fn resolve(
        self,
        directory: Option<String>,
        root: Option<PathBuf>,
    ) -> Result<Vec<CaConfig>, AcmeConfigError> {
        let mut cas = vec![CaConfig {
            directory: url("local_acme", directory.unwrap_or_else(|| LETS_ENCRYPT.to_owned()))?,
            root,
            email: address("acme.email", self.email)?,
            profile: self.profile,
            eab: binding(self.eab_kid, self.eab_hmac_key, ["acme.eab_kid", "acme.eab_hmac_key"])?,
        }];
        for fallback in self.fallback {
            let ca = fallback.resolve(cas[0].email.clone())?;
            if cas.iter().any(|other| other.directory == ca.directory) {
                return Err(AcmeConfigError::Duplicate(ca.directory));
            }
            cas.push(ca);
        }
        Ok(cas)
    }

    /// Returns no CA. Returns an error if a key is set that has no meaning with the internal CA.
    pub(super) fn reject_all(
        self,
        directory: Option<String>,
        root: Option<PathBuf>,
    ) -> Result<Vec<CaConfig>, AcmeConfigError> {
        let keys = [
            ("local_acme", directory.is_some()),
            ("local_acme_root", root.is_some()),
            ("acme.email", self.email.is_some()),
            ("acme.profile", self.profile.is_some()),
            ("acme.eab_kid", self.eab_kid.is_some()),
            ("acme.eab_hmac_key", self.eab_hmac_key.is_some()),
            ("acme.fallback", !self.fallback.is_empty()),
        ];
        let unused = keys.into_iter().find(|(_, is_set)| *is_set);
        unused.map_or(Ok(Vec::new()), |(key, _)| Err(AcmeConfigError::UnusedKey(key)))
    }
}

impl Fallback {
    fn resolve(self, email: Option<String>) -> Result<CaConfig, AcmeConfigError> {
        const KEY: &str = "acme.fallback";
        match self {
            Self::Url(directory) => {
                let directory = url(KEY, directory)?;
                Ok(CaConfig { directory, root: None, email, profile: None, eab: None })
            }
            Self::Table(table) => Ok(CaConfig {
                directory: url(KEY, table.directory)?,
                root: table.root,
                email: address(KEY, table.email)?.or(email),
                profile: table.profile,
                eab: binding(
                    table.eab_kid,
                    table.eab_hmac_key,
                    ["acme.fallback.eab_kid", "acme.fallback.eab_hmac_key"],
                )?,
            }),
        }
    }
}

fn url(key: &'static str, url: String) -> Result<String, AcmeConfigError> {
    let parsed = url.parse::<http::Uri>().ok();
    let good = parsed.is_some_and(|uri| uri.scheme_str() == Some("https") && uri.host().is_some());
    if good { Ok(url) } else { Err(AcmeConfigError::Directory { key, url }) }
}

fn address(key: &'static str, email: Option<String>) -> Result<Option<String>, AcmeConfigError> {
    match email {
        Some(email) if !is_address(&email) => Err(AcmeConfigError::Email { key, email }),
        email => Ok(email),
    }
}

fn is_address(email: &str) -> bool {
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ',' | '?');
    let parts = email.split_once('@');
    parts.is_some_and(|(name, domain)| !name.is_empty() && !domain.is_empty() && !domain.contains('@'))
        && !email.contains(forbidden)
}

fn binding(
    kid: Option<String>,
    key: Option<Secret>,
    names: [&'static str; 2],
) -> Result<Option<Eab>, AcmeConfigError> {
    match (kid, key) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(AcmeConfigError::IncompleteBinding { missing: names[0] }),
        (Some(_), None) => Err(AcmeConfigError::IncompleteBinding { missing: names[1] }),
        (Some(kid), Some(key)) => {
            let bytes = BASE64URL.decode(key.0.trim()).map_err(|_| AcmeConfigError::HmacKey(names[1]))?;
            Ok(Some(Eab { kid, hmac_key: Zeroizing::new(bytes) }))
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl fmt::Debug for Eab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Eab").field("kid", &self.kid).finish_non_exhaustive()
    }
}
