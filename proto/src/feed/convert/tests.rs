//! Round trips of all messages, errors of invalid ones, and compatibility with older and newer peers.

use std::time::Duration;

use zeroize::Zeroizing;

use super::*;
use crate::feed::report::ServedCertificate;
use crate::feed::resource::{Challenge, ChallengeResponse, FeedRoute, Settings, TicketKey, TicketKeys};
use crate::model::{
    Backend, Backends, Balance, Certificate, CertificateId, Destination, HealthCheck, MAX_LISTENERS, Mode,
    RouteId, RouteOptions, Words as _,
};

fn route(host: &str, backend: &str, mode: Mode, options: RouteOptions) -> Resource {
    let backend = Backend::parse(backend).unwrap();
    let anywhere = Prefixes::new(vec!["::/0".parse().unwrap(), "0.0.0.0/0".parse().unwrap()]);
    Resource::Route(FeedRoute {
        id: RouteId::generate(),
        host: Host::parse(host).unwrap(),
        destination: Destination::new(mode, Backends::new(vec![backend], &anywhere).unwrap(), options)
            .unwrap(),
    })
}

fn wire_route(message: &ToNode) -> wire::Route {
    let Some(wire::feed_message::Message::Put(put)) = message.write().message else { panic!("{message:?}") };
    let Some(wire::resource::Kind::Route(route)) = put.resource.unwrap().kind else { panic!("{message:?}") };
    route
}

/// Converts a route to its wire message and back, with a change in between.
fn sent(resource: Resource, change: impl FnOnce(&mut wire::Route)) -> ToNode {
    let name = resource.name().to_string();
    let mut route = wire_route(&put(resource));
    change(&mut route);
    let resource = wire::Resource { name, kind: Some(wire::resource::Kind::Route(route)) };
    let message = wire::feed_message::Message::Put(wire::Put { resource: Some(resource) });
    ToNode::read(wire::FeedMessage { message: Some(message) }, &Prefixes::default())
}

fn put(resource: Resource) -> ToNode {
    ToNode::Put(Box::new(resource))
}

#[test]
fn every_message_to_a_node_survives_the_round_trip() {
    let cert = Certificate {
        id: CertificateId::parse("*.gw.example").unwrap(),
        names: vec!["gw.example".parse().unwrap(), "*.gw.example".parse().unwrap()],
        chain: vec![vec![1, 2], vec![3]],
        key: Zeroizing::new(vec![4]),
    };
    let settings = Settings {
        base_domain: Host::parse("gw.example").unwrap(),
        allowed_backends: Prefixes::default(),
        listeners: vec![listeners("here"), listeners("")],
    };
    let health = Some(HealthCheck::new(Some("/up"), Duration::from_secs(5), 1, 2).unwrap());
    let checked = RouteOptions { health, ..RouteOptions::default() };
    let with = |mode, options| route("app.gw.example", "[400::1]:80", mode, options);
    let route = with(Mode::Passthrough, RouteOptions::default());
    for message in [
        put(with(Mode::Terminate, RouteOptions::sample())),
        put(with(Mode::Terminate, checked)),
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
        ToNode::End(FeedVersion { epoch: "e".into(), version: 7 }),
        ToNode::Heartbeat,
    ] {
        assert_eq!(ToNode::read(message.write(), &Prefixes::default()), message);
    }
}

fn listeners(stack: &str) -> ProcessListeners {
    let addresses = ["[::]:443", "[400::1]:443", "127.0.0.1:9180"].map(|address| address.parse().unwrap());
    ProcessListeners { stack: stack.into(), addresses: addresses.to_vec() }
}

#[test]
fn invalid_listeners_are_skipped_and_their_number_is_bounded() {
    let addresses = ["unix:/x", "[::]:443", ""].map(str::to_owned).to_vec();
    let read = |addresses| report::read_listeners(wire::Listeners { stack: "s".into(), addresses }).addresses;
    assert_eq!(read(addresses), ["[::]:443".parse().unwrap()]);
    assert_eq!(read(vec!["[::]:443".to_owned(); 10_000]).len(), MAX_LISTENERS);
}

#[test]
fn every_message_of_a_node_survives_the_round_trip() {
    for message in [
        FromNode::Listeners(listeners("here")),
        FromNode::Hello { node: "n".into(), build: "1".into(), held: None },
        FromNode::Hello {
            node: "n".into(),
            build: "1".into(),
            held: Some(FeedVersion { epoch: "e".into(), version: 1 }),
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
fn a_route_with_a_prohibited_backend_is_unusable() {
    let resource = route("app.gw.example", "[2001:db8::1]:80", Mode::Terminate, RouteOptions::default());
    let name = resource.name().to_string();
    match ToNode::read(put(resource).write(), &Prefixes::default()) {
        ToNode::Unusable(named, InvalidMessageError::Backends(_)) => assert_eq!(named, name),
        other => panic!("{other:?}"),
    }
}

#[test]
fn unknown_messages_of_a_newer_peer_are_skipped() {
    let newer = wire::Resource { name: "oracle/1".into(), kind: None };
    let message = wire::feed_message::Message::Put(wire::Put { resource: Some(newer) });
    let read = ToNode::read(wire::FeedMessage { message: Some(message) }, &Prefixes::default());
    assert_eq!(read, ToNode::Unknown);
    assert_eq!(FromNode::from(wire::NodeMessage { message: None }), FromNode::Unknown);
}

#[test]
fn a_route_that_requires_an_unknown_option_is_unusable() {
    let route = route("app.gw.example", "[400::1]:80", Mode::Terminate, RouteOptions::sample());
    let name = route.name().to_string();
    let unknown = sent(route.clone(), |route| route.requires.push("teleport".into()));
    assert_eq!(
        unknown,
        ToNode::Unusable(name.clone(), InvalidMessageError::UnknownOption("teleport".into()))
    );
    let odd = sent(route.clone(), |route| route.options_json = r#"{"balance":"fair"}"#.into());
    let ToNode::Unusable(of, InvalidMessageError::Options(reason)) = odd else { panic!("{odd:?}") };
    assert!(of == name && reason.contains("`fair`"), "{reason}");
    let path = |route: &mut wire::Route| {
        route.mode = wire::Mode::Passthrough.into();
        route.options_json = r#"{"health":{"path":"/up"}}"#.into();
    };
    let unsuitable = InvalidMessageError::UnsuitableOption(crate::model::UnsuitableOptionError::HealthPath);
    assert_eq!(sent(route, path), ToNode::Unusable(name, unsuitable));
}

#[test]
fn builds_without_the_options_message_are_compatible() {
    let options = RouteOptions {
        balance: Balance::Random,
        health: Some(HealthCheck::new(Some("/up"), Duration::from_secs(5), 1, 2).unwrap()),
        ..RouteOptions::default()
    };
    let route = route("app.gw.example", "[400::1]:80", Mode::Terminate, options);
    let written = wire_route(&put(route.clone()));
    assert_eq!(written.balance, wire::Balance::Random as i32, "an older node reads this field");
    assert_eq!(written.health.as_ref().unwrap().path, "/up");
    for is_oldest in [true, false] {
        let older = sent(route.clone(), |route| {
            route.options_json.clear();
            if is_oldest {
                (route.options, route.requires) = (None, Vec::new());
            }
        });
        assert_eq!(older, put(route.clone()), "without any options: {is_oldest}");
    }
    let odd = sent(route.clone(), |route| {
        route.options_json.clear();
        route.options.as_mut().unwrap().balance = 9;
    });
    let name = route.name().to_string();
    assert_eq!(odd, ToNode::Unusable(name, InvalidMessageError::Enum("balance", 9)));
}

#[test]
fn a_policy_that_older_nodes_do_not_know_has_a_number_of_its_own() {
    for balance in Balance::ALL {
        let options = RouteOptions { balance: *balance, ..RouteOptions::default() };
        let route = route("app.gw.example", "[400::1]:80", Mode::Passthrough, options);
        let written = wire_route(&put(route.clone()));
        // Older nodes know the numbers 0 and 1, and reject a route with another one.
        let is_older = matches!(balance, Balance::RoundRobin | Balance::Random);
        let typed = written.options.as_ref().map_or(0, |options| options.balance);
        assert_eq!((typed <= 1, written.balance), (is_older, typed), "{balance}");
        assert_eq!(sent(route.clone(), |route| route.options_json.clear()), put(route), "{balance}");
    }
}

#[test]
fn options_that_older_nodes_do_not_know_are_required_by_name() {
    let mode = Mode::Terminate;
    for (name, options) in [
        ("weights", r#"{"weights":{"[400::1]:80":2}}"#),
        ("sticky", r#"{"sticky":{}}"#),
        ("timeouts", r#"{"timeouts":{"connect":1}}"#),
        ("retries", r#"{"retries":{"attempts":2}}"#),
        ("max_body", r#"{"max_body":1}"#),
    ] {
        let route = route("app.gw.example", "[400::1]:80", mode, serde_json::from_str(options).unwrap());
        assert_eq!(wire_route(&put(route)).requires, [name]);
    }
}

#[test]
fn default_options_take_no_bytes_on_the_wire() {
    let plain = put(route("app.gw.example", "[400::1]:80", Mode::Terminate, RouteOptions::default()));
    let written = wire_route(&plain);
    assert!(written.options.is_none() && written.requires.is_empty() && written.options_json.is_empty());
}
