//! The CAs: where they are, and who we are to them.

use std::fmt;
use std::path::PathBuf;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use thiserror::Error;
use zeroize::Zeroizing;

/// The directory of the default CA.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Base64url, padded or not: CAs hand out both.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// `[acme]` as it is given.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AcmeSettings {
    email: Option<String>,
    profile: Option<String>,
    eab_kid: Option<String>,
    eab_hmac_key: Option<Secret>,
    fallback: Vec<Fallback>,
}

/// `[[acme.fallback]]`: a table, or the URL alone.
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

/// A text that is not to be shown.
#[derive(Deserialize)]
#[serde(transparent)]
struct Secret(Zeroizing<String>);

/// A CA, and who we are to it.
#[derive(Debug, Clone, PartialEq)]
pub struct CaConfig {
    /// The URL of its directory (RFC 8555 §7.1.1).
    pub directory: String,
    /// The roots of its own web certificate, PEM; the system's if `None`.
    pub root: Option<PathBuf>,
    /// The e-mail address that it may write to.
    pub email: Option<String>,
    /// The profile of the certificates.
    pub profile: Option<String>,
    /// The external account binding, if it knows us already.
    pub eab: Option<Eab>,
}

/// An external account binding (RFC 8555 §7.3.4).
#[derive(Clone, PartialEq)]
pub struct Eab {
    /// The key id.
    pub kid: String,
    /// The HMAC key's bytes.
    pub hmac_key: Zeroizing<Vec<u8>>,
}

/// A CA cannot be used as it is described.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AcmeConfigError {
    /// The directory is no https URL.
    #[error("`{key}`: `{url}` is not an https URL, such as {LETS_ENCRYPT}")]
    Directory {
        /// The key.
        key: &'static str,
        /// The value that was given.
        url: String,
    },
    /// Two CAs are the same one.
    #[error("`acme.fallback`: `{0}` is there twice")]
    Twice(String),
    /// A binding is half there.
    #[error("`{missing}` is missing: `eab_kid` and `eab_hmac_key` go together")]
    HalfBinding {
        /// The key.
        missing: &'static str,
    },
    /// A key is not base64url.
    #[error("`{0}` is not base64url: copy it as the CA shows it")]
    HmacKey(&'static str),
    /// The e-mail address is none.
    #[error("`{key}`: `{email}` is not an e-mail address")]
    Email {
        /// The key.
        key: &'static str,
        /// The value that was given.
        email: String,
    },
    /// A key says nothing beside the internal CA.
    #[error("`{0}` belongs to certificates.module = \"acme\", and that is \"internal\": leave it out")]
    Useless(&'static str),
}

impl AcmeSettings {
    /// Returns the CAs, the first one first.
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
                return Err(AcmeConfigError::Twice(ca.directory));
            }
            cas.push(ca);
        }
        Ok(cas)
    }

    /// Returns no CA; refuses whatever says nothing beside the internal one.
    pub(super) fn refuse(
        self,
        directory: Option<String>,
        root: Option<PathBuf>,
    ) -> Result<Vec<CaConfig>, AcmeConfigError> {
        let given = [
            ("local_acme", directory.is_some()),
            ("local_acme_root", root.is_some()),
            ("acme.email", self.email.is_some()),
            ("acme.profile", self.profile.is_some()),
            ("acme.eab_kid", self.eab_kid.is_some()),
            ("acme.eab_hmac_key", self.eab_hmac_key.is_some()),
            ("acme.fallback", !self.fallback.is_empty()),
        ];
        let useless = given.into_iter().find(|(_, given)| *given);
        useless.map_or(Ok(Vec::new()), |(key, _)| Err(AcmeConfigError::Useless(key)))
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
        (None, Some(_)) => Err(AcmeConfigError::HalfBinding { missing: names[0] }),
        (Some(_), None) => Err(AcmeConfigError::HalfBinding { missing: names[1] }),
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
