//! The API's URL in the normalised form that signatures cover.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use http::Uri;
use http::uri::{Authority, Scheme};
use thiserror::Error;
use webgateway_proto::api::RPC_PATH;

/// The URL of the API: absolute, http or https, the host in lower case, without a default port, with a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    uri: Uri,
    authority: Authority,
    tls: bool,
}

/// A text that is not a valid [`Endpoint`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UrlError {
    /// The text is not a URL.
    #[error("`{0}` is not a URL")]
    Malformed(String),
    /// The URL does not start with `http://` or `https://`.
    #[error("`{0}` has no scheme: write https://{0}")]
    NoScheme(String),
    /// The scheme is another one, such as `ftp`.
    #[error("the scheme of `{0}` is neither http nor https")]
    Scheme(String),
    /// The URL contains a user name. The message does not quote the URL, which may contain a password.
    #[error("the URL contains a user name: remove it, requests are authenticated with a key")]
    UserName,
    /// The port is missing after the colon, or is out of range.
    #[error("the port of `{0}` is not a number from 1 to 65535")]
    Port(String),
}

impl Endpoint {
    /// Parses and normalises a URL. The default path is `/rpc`.
    ///
    /// # Errors
    /// The text is not an http or https URL, or contains a user name or an invalid port.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        let malformed = || UrlError::Malformed(text.to_owned());
        // This check comes first, so that no later error message quotes a password.
        if text.split(['/', '?']).any(|part| part.contains('@')) && text.contains("://") {
            return Err(UrlError::UserName);
        }
        if !text.contains("://") {
            return Err(if text.is_empty() { malformed() } else { UrlError::NoScheme(text.to_owned()) });
        }
        let uri: Uri = text.parse().map_err(|_| malformed())?;
        let (Some(scheme), Some(authority)) = (uri.scheme().cloned(), uri.authority()) else {
            return Err(malformed());
        };
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(UrlError::Scheme(text.to_owned()));
        }
        let tls = scheme == Scheme::HTTPS;
        let authority = normalise(authority, tls).ok_or_else(|| UrlError::Port(text.to_owned()))?;
        let path = match uri.path_and_query().map_or("/", |path| path.as_str()) {
            "" | "/" => RPC_PATH,
            path => path,
        };
        let uri = Uri::builder().scheme(scheme).authority(authority.clone()).path_and_query(path).build();
        Ok(Self { uri: uri.map_err(|_| malformed())?, authority, tls })
    }

    /// Returns the absolute URL.
    #[must_use]
    pub const fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Returns the host and port as in the `Host` header.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// Returns true for https.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.tls
    }

    /// Returns true if others on the network could read and change requests and responses: plain http to a host that is
    /// neither this machine nor on the Mycelium overlay, which encrypts by itself.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        let host = self.authority.host();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        !self.tls && !is_localhost(host) && !bare.parse().is_ok_and(is_loopback_or_overlay)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uri.fmt(f)
    }
}

/// Returns true if the host name always means this machine (RFC 6761 §6.3).
pub(crate) fn is_localhost(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    host == "localhost" || host.ends_with(".localhost")
}

fn is_loopback_or_overlay(address: IpAddr) -> bool {
    let is_overlay = |v6: Ipv6Addr| v6.segments()[0] & 0xfe00 == 0x0400;
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_loopback() || is_overlay(v6),
    }
}

/// Returns the authority in lower case and without the default port (RFC 9110 §4.2.3), or `None` if the port is
/// invalid.
fn normalise(authority: &Authority, tls: bool) -> Option<Authority> {
    let host = authority.host().to_ascii_lowercase();
    let port = match authority.as_str().get(authority.host().len()..)? {
        "" => None,
        rest => Some(rest.strip_prefix(':')?.parse::<u16>().ok().filter(|&port| port != 0)?),
    };
    let default = if tls { 443 } else { 80 };
    let text = match port {
        Some(port) if port != default => format!("{host}:{port}"),
        Some(_) | None => host,
    };
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_normalised() {
        for (text, uri) in [
            ("http://localhost:8080/rpc", "http://localhost:8080/rpc"),
            ("https://Gateway.Example.com", "https://gateway.example.com/rpc"),
            ("https://gateway.example.com:443/", "https://gateway.example.com/rpc"),
            ("http://[::1]:80/rpc", "http://[::1]/rpc"),
            ("https://gateway.example.com:80/x/rpc?a=b", "https://gateway.example.com:80/x/rpc?a=b"),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap().to_string(), uri, "{text}");
        }
    }

    #[test]
    fn invalid_urls_are_rejected_with_the_cause() {
        let text = |text: &str| text.to_owned();
        for (url, error) in [
            ("", UrlError::Malformed(text(""))),
            ("gateway.example.com", UrlError::NoScheme(text("gateway.example.com"))),
            ("localhost:8080/rpc", UrlError::NoScheme(text("localhost:8080/rpc"))),
            ("ftp://gateway.example.com", UrlError::Scheme(text("ftp://gateway.example.com"))),
            ("https://", UrlError::Malformed(text("https://"))),
            ("https://a b/", UrlError::Malformed(text("https://a b/"))),
            ("https://me:sesame@gateway.example.com/", UrlError::UserName),
            ("https://gateway.example.com:0/", UrlError::Port(text("https://gateway.example.com:0/"))),
            ("https://gateway.example.com:99999", UrlError::Port(text("https://gateway.example.com:99999"))),
            ("https://gateway.example.com:/", UrlError::Port(text("https://gateway.example.com:/"))),
        ] {
            assert_eq!(Endpoint::parse(url), Err(error), "{url}");
        }
    }

    #[test]
    fn plain_http_is_exposed_except_to_loopback_and_overlay() {
        for (url, exposed) in [
            ("http://localhost:8080", false),
            ("http://gw.localhost:8080", false),
            ("http://127.0.0.1:8080", false),
            ("http://[::1]:8080", false),
            ("http://[54f:1::2]:8080", false),
            ("http://[600::1]:8080", true),
            ("http://192.168.1.1:8080", true),
            ("http://gateway.example.com", true),
            ("http://notlocalhost", true),
            ("https://gateway.example.com", false),
        ] {
            assert_eq!(Endpoint::parse(url).unwrap().is_exposed(), exposed, "{url}");
        }
    }
}
