//! The split: decides by server name and snapshot whether a connection is terminated, passed through or refused.

use std::sync::Arc;

use rustls::ServerConfig;
use webgateway_proto::feed::FeedRoute;
use webgateway_proto::model::{Mode, RouteId};

use crate::metrics::Refusal;
use crate::snapshot::{ServedCert, ServedChallenge, Snapshot};

/// The action on a connection, as the split decides it.
#[derive(Debug)]
pub(crate) enum SplitAction {
    /// The gateway terminates its TLS.
    Terminate {
        /// The certificate to serve.
        cert: Arc<ServedCert>,
        /// The route of the name, if it has one.
        route: Option<RouteId>,
    },
    /// The bytes are forwarded unchanged to a backend of this route.
    Passthrough(Arc<FeedRoute>),
    /// A CA's TLS-ALPN-01 challenge is answered with this configuration.
    Challenge(Arc<ServerConfig>),
    /// The handshake is refused with `unrecognized_name`.
    Refuse(Refusal),
}

/// Returns the action on a connection with the server name `sni` (RFC 6066 §3).
///
/// A name one label below the base domain that has no route is terminated if a certificate covers it, so that the
/// client gets an error response. `acme` is true for a ClientHello that offers only `acme-tls/1`; for a passthrough
/// host, the backend answers it. `now` is in Unix seconds and selects the certificate.
pub(crate) fn split(snapshot: &Snapshot, sni: Option<&str>, acme: bool, now: i64) -> SplitAction {
    let Some(sni) = sni else { return SplitAction::Refuse(Refusal::NoName) };
    // A route may still exist for a name that became the base domain; the base domain takes precedence.
    let route = snapshot.routes.lookup(sni).filter(|_| !snapshot.is_base(sni));
    if let Some(route) = route
        && route.destination.mode == Mode::Passthrough
    {
        return SplitAction::Passthrough(Arc::clone(route));
    }
    if acme {
        return match snapshot.challenges.lookup(sni).map(AsRef::as_ref) {
            Some(ServedChallenge::TlsAlpn(tls)) => SplitAction::Challenge(Arc::clone(tls)),
            Some(ServedChallenge::Http { .. }) | None => SplitAction::Refuse(Refusal::NoChallenge),
        };
    }
    if route.is_none() && !is_base_or_below(snapshot, sni) {
        return SplitAction::Refuse(Refusal::UnknownName);
    }
    match snapshot.certs.lookup(sni, now) {
        Some(cert) => SplitAction::Terminate { cert: Arc::clone(cert), route: route.map(|route| route.id) },
        None => SplitAction::Refuse(Refusal::NoCertificate),
    }
}

fn is_base_or_below(snapshot: &Snapshot, sni: &str) -> bool {
    let Some(settings) = &snapshot.settings else { return false };
    let base = settings.base_domain.as_str();
    sni == base || sni.split_once('.').is_some_and(|(_, parent)| parent == base)
}

#[cfg(test)]
mod tests {
    use webgateway_proto::feed::{Challenge, ChallengeResponse, Settings};
    use webgateway_proto::model::{Backends, Destination, Host, Prefixes};

    use super::*;
    use crate::http::error::ProxyError;
    use crate::proxy::handler::{Upstream, upstream};
    use crate::snapshot::tests::{certificate, tickets};

    const NOW: i64 = 50;

    fn snapshot() -> Snapshot {
        let mut snapshot = Snapshot::default();
        let base_domain = Host::parse("gw.example").unwrap();
        let settings = Settings { base_domain, allowed_backends: Prefixes::default(), listeners: vec![] };
        snapshot.settings = Some(Arc::new(settings));
        for names in [&["*.gw.example", "gw.example"][..], &["own.example"]] {
            let cert = certificate(names, 0, 100);
            snapshot.certs.insert(ServedCert::load(&cert, &tickets()).unwrap(), NOW);
        }
        for (n, host, mode) in [
            (1, "app.gw.example", Mode::Terminate),
            (2, "own.example", Mode::Terminate),
            (3, "pass.gw.example", Mode::Passthrough),
            (4, "pass.example", Mode::Passthrough),
            (5, "waits.example", Mode::Terminate),
        ] {
            snapshot.routes.insert(FeedRoute {
                id: RouteId::from_bytes([n; 16]),
                host: Host::parse(host).unwrap(),
                destination: Destination {
                    mode,
                    ..Backends::parse(&["[400::1]:80"], &Prefixes::default()).unwrap().into()
                },
            });
        }
        snapshot
    }

    fn describe(action: &SplitAction) -> String {
        match action {
            SplitAction::Terminate { cert, route } => format!("terminate {} {}", cert.id, route.is_some()),
            SplitAction::Passthrough(route) => format!("passthrough {}", route.host),
            SplitAction::Challenge(_) => "challenge".to_owned(),
            SplitAction::Refuse(reason) => format!("refuse {reason:?}"),
        }
    }

    #[test]
    fn each_name_has_its_action() {
        let snapshot = snapshot();
        for (sni, expected) in [
            (Some("app.gw.example"), "terminate *.gw.example true"),
            (Some("gw.example"), "terminate *.gw.example false"),
            (Some("nobody.gw.example"), "terminate *.gw.example false"),
            (Some("x.app.gw.example"), "refuse UnknownName"),
            (Some("own.example"), "terminate own.example true"),
            (Some("pass.gw.example"), "passthrough pass.gw.example"),
            (Some("pass.example"), "passthrough pass.example"),
            (Some("waits.example"), "refuse NoCertificate"),
            (Some("nobody.example"), "refuse UnknownName"),
            (Some("notgw.example"), "refuse UnknownName"),
            (None, "refuse NoName"),
        ] {
            assert_eq!(describe(&split(&snapshot, sni, false, NOW)), expected, "{sni:?}");
        }
        assert_eq!(
            describe(&split(&Snapshot::default(), Some("gw.example"), false, NOW)),
            "refuse UnknownName"
        );
        let mut taken = snapshot.clone();
        let mut route = FeedRoute::clone(taken.routes.lookup("pass.example").unwrap());
        route.host = Host::parse("gw.example").unwrap();
        taken.routes.insert(route);
        assert_eq!(describe(&split(&taken, Some("gw.example"), false, NOW)), "terminate *.gw.example false");
    }

    #[test]
    fn a_certificate_is_served_from_its_not_before_on() {
        let snapshot = snapshot();
        for (now, expected) in [
            (-1, "refuse NoCertificate"),
            (0, "terminate own.example true"),
            (100, "terminate own.example true"),
        ] {
            assert_eq!(describe(&split(&snapshot, Some("own.example"), false, now)), expected, "at {now}");
        }
    }

    #[test]
    fn a_challenge_is_answered_only_while_it_is_pending() {
        let mut snapshot = snapshot();
        let pair = certificate(&["waits.example"], 0, 100);
        let tls = ChallengeResponse::TlsAlpn { certificate: pair.chain[0].clone(), key: pair.key };
        let http = ChallengeResponse::Http { token: "t".into(), key_authorization: "t.k".into() };
        for (host, response) in [("waits.example", &tls), ("own.example", &http), ("pass.example", &tls)] {
            let challenge = Challenge { host: Host::parse(host).unwrap(), response: response.clone() };
            snapshot.challenges.insert(&challenge).unwrap();
        }
        let asked = |host| describe(&split(&snapshot, Some(host), true, NOW));
        assert_eq!(asked("waits.example"), "challenge");
        assert_eq!(asked("own.example"), "refuse NoChallenge");
        assert_eq!(asked("app.gw.example"), "refuse NoChallenge");
        assert_eq!(asked("pass.example"), "passthrough pass.example");
        assert_eq!(describe(&split(&snapshot, Some("waits.example"), false, NOW)), "refuse NoCertificate");
    }

    /// Tests the counterpart of the split: the hosts that a terminated connection is authoritative for.
    #[test]
    fn a_connection_is_authoritative_for_terminated_hosts_of_its_certificate() {
        let snapshot = snapshot();
        let cert = |host| Arc::clone(snapshot.certs.lookup(host, NOW).unwrap());
        let (base, own) = (cert("gw.example"), cert("own.example"));
        let ask = |sni, cert: &ServedCert, host| match upstream(&snapshot, sni, cert, host) {
            Ok(Upstream::Controlplane) => "api".to_owned(),
            Ok(Upstream::Route(route)) => route.host.to_string(),
            Err(error) => match error {
                ProxyError::Misdirected => "421".to_owned(),
                ProxyError::UnknownHost => "503".to_owned(),
                other => panic!("{other}"),
            },
        };
        for (sni, cert, host, expected) in [
            ("app.gw.example", &base, "app.gw.example", "app.gw.example"),
            ("nobody.gw.example", &base, "app.gw.example", "app.gw.example"),
            ("app.gw.example", &base, "gw.example", "api"),
            ("app.gw.example", &base, "nobody.gw.example", "503"),
            ("app.gw.example", &base, "own.example", "421"),
            ("app.gw.example", &base, "pass.gw.example", "421"),
            ("app.gw.example", &base, "elsewhere.example", "421"),
            ("own.example", &own, "own.example", "own.example"),
            ("own.example", &own, "app.gw.example", "421"),
            ("own.example", &own, "gw.example", "421"),
        ] {
            assert_eq!(ask(sni, cert, host), expected, "{sni} asks for {host}");
        }
    }
}
