//! The configured source of public keys: a directory or an HTTP server.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use thiserror::Error;
use webgateway_proto::model::KeyId;

/// The placeholder for the key id in a URI.
const PLACEHOLDER: &str = "{id}";

/// The source of public keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A directory of files named by key id.
    Directory(PathBuf),
    /// An HTTP server.
    Http {
        /// The URI of a key, with a placeholder for the key id.
        uri: KeyUri,
        /// The time for which a response is cached.
        ttl: Duration,
    },
}

/// The URI of a key server, with `{id}` as the placeholder for the key id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUri {
    before: String,
    after: String,
}

/// A text is not a [`KeyUri`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyUriError {
    /// The placeholder is missing, repeated, or in the wrong part of the URI.
    #[error(
        "`{0}` must contain {PLACEHOLDER} once, in its path or query, such as https://keys.example.com/{PLACEHOLDER}"
    )]
    Placeholder(String),
    /// The scheme is neither https nor, on loopback, http.
    #[error("`{0}` is not https; http is allowed only on loopback")]
    Scheme(String),
    /// The text is not a URI.
    #[error("`{0}` is not a URI: write such as https://keys.example.com/{PLACEHOLDER}")]
    Malformed(String),
}

impl KeyUri {
    /// Returns the URI of one key, with the percent-encoded key id.
    #[must_use]
    pub fn of(&self, id: &KeyId) -> String {
        let id: String = form_urlencoded::byte_serialize(id.as_str().as_bytes()).collect();
        format!("{}{}{}", self.before, id.replace('+', "%20"), self.after)
    }
}

impl FromStr for KeyUri {
    type Err = KeyUriError;

    fn from_str(text: &str) -> Result<Self, KeyUriError> {
        let misplaced = || KeyUriError::Placeholder(text.to_owned());
        let (before, after) = text.split_once(PLACEHOLDER).ok_or_else(misplaced)?;
        if after.contains(PLACEHOLDER) || after.contains('#') || before.contains('#') {
            return Err(misplaced());
        }
        let malformed = || KeyUriError::Malformed(text.to_owned());
        let uri: Uri = format!("{before}x{after}").parse().map_err(|_| malformed())?;
        let host = uri.host().ok_or_else(malformed)?;
        // A placeholder in the host would let a caller choose the server.
        let base: Uri = before.parse().map_err(|_| misplaced())?;
        if base.host() != Some(host)
            || base.port() != uri.port()
            || !before.trim_start_matches("https://").contains('/')
        {
            return Err(misplaced());
        }
        let loopback = |host: &str| {
            let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
            host == "localhost" || address.is_ok_and(|address| address.is_loopback())
        };
        match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => {}
            Some(scheme) if *scheme == Scheme::HTTP && loopback(host) => {}
            Some(_) | None => return Err(KeyUriError::Scheme(text.to_owned())),
        }
        Ok(Self { before: before.to_owned(), after: after.to_owned() })
    }
}

impl fmt::Display for KeyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{PLACEHOLDER}{}", self.before, self.after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_id_replaces_the_placeholder() {
        for (uri, of) in [
            ("https://keys.example/{id}", "https://keys.example/a%40b.pub"),
            ("https://keys.example:8443/v1/{id}/pem?x=1", "https://keys.example:8443/v1/a%40b.pub/pem?x=1"),
            ("https://keys.example/?key={id}", "https://keys.example/?key=a%40b.pub"),
            ("http://127.0.0.1:9/{id}", "http://127.0.0.1:9/a%40b.pub"),
            ("http://[::1]:9/{id}", "http://[::1]:9/a%40b.pub"),
            ("http://localhost/{id}", "http://localhost/a%40b.pub"),
        ] {
            let parsed: KeyUri = uri.parse().unwrap();
            assert_eq!((parsed.of(&"a@b.pub".parse().unwrap()), parsed.to_string()), (of.into(), uri.into()));
        }
    }

    #[test]
    fn uris_that_could_reach_another_server_are_refused() {
        for (uri, error) in [
            ("https://keys.example/", "once"),
            ("https://keys.example/{id}/{id}", "once"),
            ("https://{id}/", "once"),
            ("https://{id}.keys.example/", "once"),
            ("https://keys.example{id}", "once"),
            ("https://keys.example:{id}/", "once"),
            ("https://keys.example/#{id}", "once"),
            ("http://keys.example/{id}", "https"),
            ("http://10.0.0.1/{id}", "https"),
            ("ftp://keys.example/{id}", "https"),
            ("/{id}", "URI"),
            ("{id}", "once"),
        ] {
            let refused = uri.parse::<KeyUri>().unwrap_err().to_string();
            assert!(refused.contains(error), "{uri}: {refused}");
        }
    }
}
