//! The source of public keys: a directory, or a server.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use thiserror::Error;
use webgateway_proto::model::KeyId;

/// The placeholder of the key id.
const PLACE: &str = "{id}";

/// The source of public keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// Files named by their key id.
    Directory(PathBuf),
    /// A server.
    Http {
        /// The URI of a key.
        uri: KeyUri,
        /// The time for which an answer is good.
        ttl: Duration,
    },
}

/// The URI of a key server, with `{id}` where the key id goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUri {
    before: String,
    after: String,
}

/// A text is no [`KeyUri`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyUriError {
    /// The placeholder is missing, there twice, or in the wrong part.
    #[error("`{0}` must have {PLACE} once, in its path or query: https://keys.example.com/{PLACE}")]
    Place(String),
    /// The scheme is neither https, nor http on this machine.
    #[error("`{0}` is not https; http is taken on loopback alone")]
    Scheme(String),
    /// The text is no URI.
    #[error("`{0}` is not a URI: write such as https://keys.example.com/{PLACE}")]
    Malformed(String),
}

impl KeyUri {
    /// The URI of one key. The id stands in it percent-encoded.
    #[must_use]
    pub fn of(&self, id: &KeyId) -> String {
        let id: String = form_urlencoded::byte_serialize(id.as_str().as_bytes()).collect();
        format!("{}{}{}", self.before, id.replace('+', "%20"), self.after)
    }
}

impl FromStr for KeyUri {
    type Err = KeyUriError;

    fn from_str(text: &str) -> Result<Self, KeyUriError> {
        let place = || KeyUriError::Place(text.to_owned());
        let (before, after) = text.split_once(PLACE).ok_or_else(place)?;
        if after.contains(PLACE) || after.contains('#') || before.contains('#') {
            return Err(place());
        }
        let malformed = || KeyUriError::Malformed(text.to_owned());
        let uri: Uri = format!("{before}x{after}").parse().map_err(|_| malformed())?;
        let host = uri.host().ok_or_else(malformed)?;
        // An id in the host would let a caller choose whom we ask.
        let base: Uri = before.parse().map_err(|_| place())?;
        if base.host() != Some(host)
            || base.port() != uri.port()
            || !before.trim_start_matches("https://").contains('/')
        {
            return Err(place());
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
        write!(f, "{}{PLACE}{}", self.before, self.after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_goes_where_its_place_is() {
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
    fn what_could_be_led_astray_is_refused() {
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
