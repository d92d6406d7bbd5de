//! The API's URL, in the form that is signed.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use http::Uri;
use http::uri::{Authority, Scheme};
use thiserror::Error;
use webgateway_proto::api::RPC_PATH;

/// The URL of the API: absolute, http or https, host in lower case, no default port, with a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    uri: Uri,
    authority: Authority,
    tls: bool,
}

/// A text that is not an [`Endpoint`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidUrl {
    /// The text is no URL at all.
    #[error("`{0}` is not a URL")]
    Malformed(String),
    /// No `http://` or `https://`.
    #[error("`{0}` has no scheme: write https://{0}")]
    NoScheme(String),
    /// `ftp://`
    #[error("the scheme of `{0}` is neither http nor https")]
    Scheme(String),
    /// `https://user:password@host`; the text is not repeated, for it may hold a password.
    #[error("the URL has a user name: requests are signed with a key, there is no user name")]
    UserName,
    /// `:0`, `:99999`, `:`
    #[error("the port of `{0}` is not a number from 1 to 65535")]
    Port(String),
}

impl Endpoint {
    /// Parses a URL; without a path it is the API's own, `/rpc`.
    ///
    /// # Errors
    /// No URL, or one that cannot be the API's.
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        let text = text.trim();
        let malformed = || InvalidUrl::Malformed(text.to_owned());
        // Said first, so that no later error repeats a password.
        if text.split(['/', '?']).any(|part| part.contains('@')) && text.contains("://") {
            return Err(InvalidUrl::UserName);
        }
        if !text.contains("://") {
            return Err(if text.is_empty() { malformed() } else { InvalidUrl::NoScheme(text.to_owned()) });
        }
        let uri: Uri = text.parse().map_err(|_| malformed())?;
        let (Some(scheme), Some(authority)) = (uri.scheme().cloned(), uri.authority()) else {
            return Err(malformed());
        };
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(InvalidUrl::Scheme(text.to_owned()));
        }
        let tls = scheme == Scheme::HTTPS;
        let authority = normalise(authority, tls).ok_or_else(|| InvalidUrl::Port(text.to_owned()))?;
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

    /// Returns host and port, as in the Host field.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// Returns true for https.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.tls
    }

    /// Returns true if others on the way could read the answers and change them: plain http that leaves this machine
    /// other than through the overlay, which encrypts by itself.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        let host = self.authority.host();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        !self.tls && !is_localhost(host) && !bare.parse().is_ok_and(is_private_path)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uri.fmt(f)
    }
}

/// Returns true if a name is this machine's by definition (RFC 6761 §6.3).
pub(crate) fn is_localhost(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    host == "localhost" || host.ends_with(".localhost")
}

fn is_private_path(address: IpAddr) -> bool {
    let is_overlay = |v6: Ipv6Addr| v6.segments()[0] & 0xfe00 == 0x0400;
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_loopback() || is_overlay(v6),
    }
}

/// Returns the authority in lower case, without the default port (RFC 9110 §4.2.3); `None` if its port is not one.
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
    fn has_one_form() {
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
    fn says_what_is_wrong() {
        let text = |text: &str| text.to_owned();
        for (url, error) in [
            ("", InvalidUrl::Malformed(text(""))),
            ("gateway.example.com", InvalidUrl::NoScheme(text("gateway.example.com"))),
            ("localhost:8080/rpc", InvalidUrl::NoScheme(text("localhost:8080/rpc"))),
            ("ftp://gateway.example.com", InvalidUrl::Scheme(text("ftp://gateway.example.com"))),
            ("https://", InvalidUrl::Malformed(text("https://"))),
            ("https://a b/", InvalidUrl::Malformed(text("https://a b/"))),
            ("https://me:sesame@gateway.example.com/", InvalidUrl::UserName),
            ("https://gateway.example.com:0/", InvalidUrl::Port(text("https://gateway.example.com:0/"))),
            (
                "https://gateway.example.com:99999",
                InvalidUrl::Port(text("https://gateway.example.com:99999")),
            ),
            ("https://gateway.example.com:/", InvalidUrl::Port(text("https://gateway.example.com:/"))),
        ] {
            assert_eq!(Endpoint::parse(url), Err(error), "{url}");
        }
    }

    #[test]
    fn plain_http_is_exposed_unless_it_stays_here_or_on_the_overlay() {
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
