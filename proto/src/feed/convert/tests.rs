//! What is written is read back; what is wrong is named; what is new is skipped.

use std::time::Duration;

use zeroize::Zeroizing;

use super::*;
use crate::feed::report::ServedCertificate;
use crate::feed::resource::{Challenge, ChallengeResponse, FeedRoute, Settings, TicketKey, TicketKeys};
use crate::model::{
    Backend, Backends, Balance, Certificate, CertificateId, Destination, HealthCheck, Mode, RouteId,
};

fn route(host: &str, backend: &str) -> Resource {
    let backend = Backend::parse(backend).unwrap();
    let anywhere = Prefixes::new(vec!["::/0".parse().unwrap(), "0.0.0.0/0".parse().unwrap()]);
    Resource::Route(FeedRoute {
        id: RouteId::generate(),
        host: Host::parse(host).unwrap(),
        destination: Destination {
            mode: Mode::Passthrough,
            balance: Balance::Random,
            backends: Backends::new(vec![backend], &anywhere).unwrap(),
            health: Some(Box::new(HealthCheck::new(Some("/up"), Duration::from_secs(5), 1, 2).unwrap())),
        },
    })
}

fn put(resource: Resource) -> ToNode {
    ToNode::Put(Box::new(resource))
}

#[test]
fn every_message_to_a_node_comes_back() {
    let cert = Certificate {
        id: CertificateId::parse("*.gw.example").unwrap(),
        names: vec!["gw.example".parse().unwrap(), "*.gw.example".parse().unwrap()],
        chain: vec![vec![1, 2], vec![3]],
        key: Zeroizing::new(vec![4]),
    };
    let settings =
        Settings { base_domain: Host::parse("gw.example").unwrap(), allowed_backends: Prefixes::default() };
    let route = route("app.gw.example", "[400::1]:80");
    for message in [
        ToNode::Begin { full: true },
        ToNode::Begin { full: false },
        ToNode::Remove { name: route.name(), at_once: true },
        put(route),
        put(Resource::Certificate(cert)),
        put(Resource::Settings(settings)),
        put(Resource::Challenge(Challenge {
            host: Host::parse("own.example").unwrap(),
            response: ChallengeResponse::TlsAlpn { certificate: vec![1], key: Zeroizing::new(vec![2]) },
        })),
        put(Resource::Challenge(Challenge {
            host: Host::parse("own.example").unwrap(),
            response: ChallengeResponse::Http { token: "t".into(), key_authorization: "t.k".into() },
        })),
        put(Resource::TicketKeys(TicketKeys(vec![TicketKey {
            name: [1; 16],
            secret: Zeroizing::new([2; 32]),
        }]))),
        ToNode::Directive { drain: true },
        ToNode::Explain { id: 7, host: Host::parse("app.gw.example").unwrap() },
        ToNode::End(Held { epoch: "e".into(), version: 7 }),
        ToNode::Heartbeat,
    ] {
        assert_eq!(ToNode::read(message.write(), &Prefixes::default()), message);
    }
}

#[test]
fn every_message_of_a_node_comes_back() {
    for message in [
        FromNode::Hello { node: "n".into(), build: "1".into(), held: None },
        FromNode::Hello {
            node: "n".into(),
            build: "1".into(),
            held: Some(Held { epoch: "e".into(), version: 1 }),
        },
        FromNode::Ack(3),
        FromNode::Reject { version: 3, resource: "settings".into(), reason: "no".into() },
        FromNode::Heartbeat,
        FromNode::Status { connections: 1, requests: 2, draining: true },
        FromNode::Health(vec![
            BackendHealth { backend: Backend::parse("[400::1]:80").unwrap(), down: None },
            BackendHealth { backend: Backend::parse("[400::2]:80").unwrap(), down: Some("refused".into()) },
        ]),
        FromNode::Explanation(Box::new(Explanation {
            id: 7,
            version: 9,
            route: Some(RouteId::generate()),
            certificate: Some(ServedCertificate {
                id: CertificateId::parse("*.gw.example").unwrap(),
                not_after: 5,
                fingerprint: [3; 32],
            }),
            backends: vec![BackendHealth { backend: Backend::parse("[400::1]:80").unwrap(), down: None }],
        })),
    ] {
        assert_eq!(FromNode::from(wire::NodeMessage::from(message.clone())), message);
    }
}

#[test]
fn a_backend_outside_the_prefixes_is_unusable_by_name() {
    let resource = route("app.gw.example", "[2001:db8::1]:80");
    let name = resource.name().to_string();
    match ToNode::read(put(resource).write(), &Prefixes::default()) {
        ToNode::Unusable(named, InvalidMessage::Backends(_)) => assert_eq!(named, name),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_newer_peer_says_is_skipped() {
    let newer = wire::Resource { name: "oracle/1".into(), kind: None };
    let message = wire::feed_message::Message::Put(wire::Put { resource: Some(newer) });
    let read = ToNode::read(wire::FeedMessage { message: Some(message) }, &Prefixes::default());
    assert_eq!(read, ToNode::Unknown);
    assert_eq!(FromNode::from(wire::NodeMessage { message: None }), FromNode::Unknown);
}
