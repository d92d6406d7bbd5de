//! Hosts that lead here, elsewhere and nowhere, by a name server over a real socket.

use std::time::Duration;

use super::*;
use crate::dns::sample::{Entry, Names, serve};

const CA: &str = "ca.example";
const BASE: (&str, &[Entry]) =
    ("gw.example", &[("gw.example", "A", "192.0.2.1"), ("gw.example", "AAAA", "2001:db8::1")]);

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

fn inspector(names: &Names, public_ip: &[&str]) -> Inspector {
    let base = host("gw.example");
    let public_ip: Vec<IpAddr> = public_ip.iter().map(|text| text.parse().unwrap()).collect();
    let resolver = Resolver::with_attempt_timeout(&[names.address], Duration::from_millis(300)).unwrap();
    Inspector::new(resolver, Zone::new(&base).unwrap(), base, &public_ip)
}

async fn looked_up(entries: &[Entry], public_ip: &[&str], name: &str) -> Preflight {
    let names = serve(&[BASE, ("example.org", entries)]).await;
    inspector(&names, public_ip).preflight(&host(name), &[CA.to_owned()]).await
}

fn missing(found: Preflight) -> (String, Vec<String>) {
    let Preflight::Missing { reason, records } = found else { panic!("{found:?}") };
    (reason, records.into_iter().map(|r| format!("{} {} {}", r.name, r.kind, r.value)).collect())
}

#[tokio::test]
async fn a_host_that_leads_here_is_ready() {
    use ChallengeKind::{Http01, TlsAlpn01};
    let ready = Preflight::Ready(vec![TlsAlpn01, Http01]);
    let cases: [(&[Entry], &[&str]); 4] = [
        (&[("app.example.org", "CNAME", "gw.example")], &[]),
        (&[("app.example.org", "A", "192.0.2.1")], &[]),
        (&[("app.example.org", "A", "198.51.100.1")], &["198.51.100.1"]),
        (&[("app.example.org", "CNAME", "gw.example"), ("example.org", "CAA", CA)], &["198.51.100.1"]),
    ];
    for (entries, public_ip) in cases {
        assert_eq!(looked_up(entries, public_ip, "app.example.org").await, ready, "{entries:?}");
    }
}

#[tokio::test]
async fn what_is_missing_is_said_to_the_letter() {
    let (reason, records) = missing(looked_up(&[], &[], "app.example.org").await);
    assert!(reason.contains("has no address"), "{reason}");
    assert_eq!(records, ["app.example.org CNAME gw.example"]);

    let half = [("app.example.org", "A", "192.0.2.1"), ("app.example.org", "AAAA", "2001:db8::bad")];
    let (reason, records) = missing(looked_up(&half, &[], "app.example.org").await);
    assert!(reason.contains("leads to 2001:db8::bad,"), "one address elsewhere is one too many: {reason}");
    assert_eq!(records, ["app.example.org CNAME gw.example"]);

    let (_, records) = missing(looked_up(&[], &["198.51.100.1", "2001:db8::9"], "example.org").await);
    assert_eq!(
        records,
        ["example.org A 198.51.100.1", "example.org AAAA 2001:db8::9"],
        "no CNAME at an apex"
    );

    let other = [("app.example.org", "CNAME", "gw.example"), ("example.org", "CAA", "other.example")];
    let (reason, records) = missing(looked_up(&other, &[], "app.example.org").await);
    assert_eq!(reason, "the CAA records of example.org do not let ca.example issue");
    assert_eq!(records, ["example.org CAA 0 issue \"ca.example\""]);
}

#[tokio::test]
async fn a_delegated_host_is_proven_in_our_zone_wherever_it_leads() {
    use ChallengeKind::{Dns01, Http01, TlsAlpn01};
    const TARGET: &str = "b0bf13b620397f0e7a46._acme-challenge.gw.example";
    let alias = ("_acme-challenge.app.example.org", "CNAME", TARGET);
    let here = [alias, ("app.example.org", "CNAME", "gw.example")];
    let ready = looked_up(&here, &[], "app.example.org").await;
    assert_eq!(ready, Preflight::Ready(vec![Dns01, TlsAlpn01, Http01]));
    let elsewhere = [alias, ("app.example.org", "A", "198.51.100.1")];
    assert_eq!(looked_up(&elsewhere, &[], "app.example.org").await, Preflight::Ready(vec![Dns01]));
    // The place of another host is not ours to use.
    let shared = [("_acme-challenge.b.example.org", "CNAME", TARGET)];
    missing(looked_up(&shared, &[], "b.example.org").await);
}

#[tokio::test]
async fn the_base_needs_caa_alone_and_silence_is_a_reason() {
    let names = serve(&[("gw.example", &[("gw.example", "CAA", "other.example")])]).await;
    let inspector = inspector(&names, &[]);
    let base = host("gw.example");
    let ready = Preflight::Ready(vec![ChallengeKind::Dns01]);
    assert_eq!(inspector.preflight(&base, &["other.example".into()]).await, ready);
    assert_eq!(inspector.preflight(&base, &[]).await, ready);
    let (_, records) = missing(inspector.preflight(&base, &[CA.to_owned()]).await);
    assert_eq!(records, ["gw.example CAA 0 issue \"ca.example\""]);
    drop(names);
    let (reason, records) = missing(inspector.preflight(&host("app.example.org"), &[]).await);
    assert!(reason.contains("could not be looked up") && records.is_empty(), "{reason}");
}
