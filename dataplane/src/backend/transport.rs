//! The transport of a route: how connections to its backends are made, other than by plain HTTP/1.1.

use std::net::Ipv6Addr;

use rustls_pki_types::ServerName;
use webgateway_proto::feed::FeedRoute;
use webgateway_proto::model::options::{BackendProtocol, Trust};

/// A transport other than plain HTTP/1.1. A connection is used only by routes whose transports are equal, so that one
/// that was verified under other settings, or under none, never carries their requests.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Transport {
    /// Is true for HTTP/2, false for HTTP/1.1.
    pub is_http2: bool,
    /// The settings of TLS; `None` without it.
    pub tls: Option<TlsSettings>,
}

/// The settings of TLS that tell connections apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TlsSettings {
    /// The name that the certificate must have, also sent as SNI.
    pub server_name: ServerName<'static>,
    /// The certificates that are accepted.
    pub trust: Trust,
}

impl Transport {
    /// Returns the transport of a route; `None` for plain HTTP/1.1.
    #[must_use]
    pub(crate) fn of(route: &FeedRoute) -> Option<Self> {
        let options = &route.destination.options;
        let protocol = options.backend_protocol;
        if protocol == BackendProtocol::Http1 {
            return None;
        }
        let tls = protocol.has_tls().then(|| {
            let server_name = options.backend_tls.server_name().cloned();
            let server_name = server_name.unwrap_or_else(|| of_host(route.host.as_str()));
            TlsSettings { server_name, trust: options.backend_tls.trust().clone() }
        });
        Some(Self { is_http2: protocol.is_http2(), tls })
    }

    /// Returns whether `transport` is the one of `route`, as `transport == Transport::of(route)` does without copies.
    #[must_use]
    pub(crate) fn fits(transport: Option<&Self>, route: &FeedRoute) -> bool {
        let options = &route.destination.options;
        let protocol = options.backend_protocol;
        let Some(transport) = transport else { return protocol == BackendProtocol::Http1 };
        if protocol == BackendProtocol::Http1 || protocol.is_http2() != transport.is_http2 {
            return false;
        }
        match &transport.tls {
            None => !protocol.has_tls(),
            Some(TlsSettings { server_name, trust }) => {
                protocol.has_tls()
                    && trust == options.backend_tls.trust()
                    && match options.backend_tls.server_name() {
                        Some(named) => named == server_name,
                        None => is_of_host(server_name, route.host.as_str()),
                    }
            }
        }
    }
}

/// Returns the server name of a host. A host whose last label is a number is none: no certificate can have it, so it
/// becomes an address that none has.
fn of_host(host: &str) -> ServerName<'static> {
    ServerName::try_from(host.to_owned()).unwrap_or_else(|_| Ipv6Addr::UNSPECIFIED.into())
}

/// Returns whether `name` is the server name of `host`, which is in lower case.
fn is_of_host(name: &ServerName<'_>, host: &str) -> bool {
    match name {
        ServerName::DnsName(name) => name.as_ref() == host,
        _ => *name == of_host(host),
    }
}

#[cfg(test)]
mod tests {
    use webgateway_proto::model::options::BackendTls;
    use webgateway_proto::model::{Backends, Destination, Host, Mode, Prefixes, RouteId, RouteOptions};

    use super::*;

    fn route(host: &str, backend_protocol: BackendProtocol, backend_tls: BackendTls) -> FeedRoute {
        let backends = Backends::parse(&["[400::1]:80"], &Prefixes::default()).unwrap();
        let options = RouteOptions { backend_protocol, backend_tls, ..RouteOptions::default() };
        FeedRoute {
            id: RouteId::from_bytes([1; 16]),
            host: Host::parse(host).unwrap(),
            destination: Destination::new(Mode::Terminate, backends, options).unwrap(),
        }
    }

    /// Every pair of settings is compared in both ways. Those with the same number are equal.
    #[test]
    fn transports_are_equal_only_if_all_their_settings_are() {
        use BackendProtocol::{H2c, Http1, Https, HttpsH2};
        let ca = |name: &str| {
            let folder =
                concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/src/model/options/backend_tls/testdata");
            std::fs::read_to_string(format!("{folder}/{name}.pem")).unwrap()
        };
        let (one, other) = (ca("ca"), ca("other"));
        let tls = |name, ca: Option<&str>, insecure| BackendTls::new(name, ca, insecure).unwrap();
        let settings = [
            (1, "a.example", Http1, tls(None, None, false)),
            (1, "b.example", Http1, tls(None, None, false)),
            (2, "a.example", H2c, tls(None, None, false)),
            (2, "b.example", H2c, tls(None, None, false)),
            (3, "a.example", Https, tls(None, None, false)),
            (3, "b.example", Https, tls(Some("A.example"), None, false)),
            (4, "b.example", Https, tls(None, None, false)),
            (5, "a.example", HttpsH2, tls(None, None, false)),
            (6, "a.example", Https, tls(None, None, true)),
            (7, "a.example", Https, tls(None, Some(&one), false)),
            (7, "c.example", Https, tls(Some("a.example"), Some(&format!("# twice\n{one}{one}")), false)),
            (8, "a.example", Https, tls(None, Some(&other), false)),
            (9, "a.example", Https, tls(None, Some(&format!("{one}{other}")), false)),
            (10, "a.example", Https, tls(Some("400::1"), None, false)),
        ];
        for (number, host, protocol, tls) in &settings {
            let transport = Transport::of(&route(host, *protocol, tls.clone()));
            for (of_other, host, protocol, tls) in &settings {
                let other = route(host, *protocol, tls.clone());
                let is_same = number == of_other;
                assert_eq!(Transport::fits(transport.as_ref(), &other), is_same, "{number} and {of_other}");
                assert_eq!(transport == Transport::of(&other), is_same, "{number} and {of_other}");
            }
        }
    }
}
