//! Hosts that lead to the gateway, elsewhere and nowhere, by a name server over a real socket.

use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::dns::sample::RecordType::{self, A, AAAA, CAA, CNAME, SOA};
use crate::dns::sample::{ResponseCode, ZoneEntry, failing, serve};

const CA: &str = "ca.example";
const BASE: (&str, &[ZoneEntry]) =
    ("gw.example", &[("gw.example", "A", "192.0.2.1"), ("gw.example", "AAAA", "2001:db8::1")]);

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

fn checker(names: SocketAddr, public_ip: &[&str]) -> PreflightChecker {
    let base = host("gw.example");
    let public_ip: Vec<IpAddr> = public_ip.iter().map(|text| text.parse().unwrap()).collect();
    let resolver = Resolver::with_attempt_timeout(&[names], Duration::from_millis(300)).unwrap();
    PreflightChecker::new(resolver, Zone::new(&base).unwrap(), base, &public_ip)
}

async fn preflight_of(entries: &[ZoneEntry], public_ip: &[&str], name: &str) -> Preflight {
    let names = serve(&[BASE, ("example.org", entries)]).await;
    checker(names.address, public_ip).preflight(&host(name), &[CA.to_owned()]).await
}

fn missing(found: Preflight) -> (String, Vec<String>) {
    let Preflight::Missing { reason, records } = found else { panic!("{found:?}") };
    (reason, records.into_iter().map(|r| format!("{} {} {}", r.name, r.kind, r.value)).collect())
}

#[tokio::test]
async fn a_host_that_leads_to_the_gateway_is_ready() {
    use ChallengeKind::{Http01, TlsAlpn01};
    let ready = Preflight::Ready(vec![TlsAlpn01, Http01]);
    let cases: [(&[ZoneEntry], &[&str]); 4] = [
        (&[("app.example.org", "CNAME", "gw.example")], &[]),
        (&[("app.example.org", "A", "192.0.2.1")], &[]),
        (&[("app.example.org", "A", "198.51.100.1")], &["198.51.100.1"]),
        (&[("app.example.org", "CNAME", "gw.example"), ("example.org", "CAA", CA)], &["198.51.100.1"]),
    ];
    for (entries, public_ip) in cases {
        assert_eq!(preflight_of(entries, public_ip, "app.example.org").await, ready, "{entries:?}");
    }
}

#[tokio::test]
async fn missing_records_are_listed_exactly() {
    let (reason, records) = missing(preflight_of(&[], &[], "app.example.org").await);
    assert!(reason.contains("has no address"), "{reason}");
    assert_eq!(records, ["app.example.org CNAME gw.example"]);

    let half = [("app.example.org", "A", "192.0.2.1"), ("app.example.org", "AAAA", "2001:db8::bad")];
    let (reason, records) = missing(preflight_of(&half, &[], "app.example.org").await);
    assert!(reason.contains("leads to 2001:db8::bad,"), "one foreign address is enough: {reason}");
    assert_eq!(records, ["app.example.org CNAME gw.example"]);

    let (_, records) = missing(preflight_of(&[], &["198.51.100.1", "2001:db8::9"], "example.org").await);
    assert_eq!(
        records,
        ["example.org A 198.51.100.1", "example.org AAAA 2001:db8::9"],
        "no CNAME at an apex"
    );

    let other = [("app.example.org", "CNAME", "gw.example"), ("example.org", "CAA", "other.example")];
    let (reason, records) = missing(preflight_of(&other, &[], "app.example.org").await);
    assert_eq!(reason, "the CAA records of example.org do not let ca.example issue");
    assert_eq!(records, ["example.org CAA 0 issue \"ca.example\""]);
}

#[tokio::test]
async fn a_delegated_host_is_validated_in_our_zone_wherever_it_leads() {
    use ChallengeKind::{Dns01, Http01, TlsAlpn01};
    const TARGET: &str = "b0bf13b620397f0e7a46._acme-challenge.gw.example";
    let alias = ("_acme-challenge.app.example.org", "CNAME", TARGET);
    let here = [alias, ("app.example.org", "CNAME", "gw.example")];
    let ready = preflight_of(&here, &[], "app.example.org").await;
    assert_eq!(ready, Preflight::Ready(vec![Dns01, TlsAlpn01, Http01]));
    let elsewhere = [alias, ("app.example.org", "A", "198.51.100.1")];
    assert_eq!(preflight_of(&elsewhere, &[], "app.example.org").await, Preflight::Ready(vec![Dns01]));
    // The name for one host's challenges cannot be used for another host.
    let shared = [("_acme-challenge.b.example.org", "CNAME", TARGET)];
    missing(preflight_of(&shared, &[], "b.example.org").await);
}

#[tokio::test]
async fn only_caa_can_block_the_base_domain_and_a_failed_lookup_is_a_reason() {
    let names = serve(&[("gw.example", &[("gw.example", "CAA", "other.example")])]).await;
    let checker = checker(names.address, &[]);
    let base = host("gw.example");
    let ready = Preflight::Ready(vec![ChallengeKind::Dns01]);
    assert_eq!(checker.preflight(&base, &["other.example".into()]).await, ready);
    assert_eq!(checker.preflight(&base, &[]).await, ready);
    let (_, records) = missing(checker.preflight(&base, &[CA.to_owned()]).await);
    assert_eq!(records, ["gw.example CAA 0 issue \"ca.example\""]);
    drop(names);
    let (reason, records) = missing(checker.preflight(&host("app.example.org"), &[]).await);
    assert!(reason.contains("could not be looked up") && records.is_empty(), "{reason}");
}

type DnsQuery = (&'static str, RecordType);

const APP: &str = "app.example.org";
const CHALLENGE: &str = "_acme-challenge.app.example.org";
const TARGET: &str = "b0bf13b620397f0e7a46._acme-challenge.gw.example";
const HERE: &[ZoneEntry] = &[(APP, "A", "192.0.2.1")];
const ELSEWHERE: &[ZoneEntry] = &[(APP, "A", "198.51.100.9")];
const DELEGATED: &[ZoneEntry] = &[(APP, "A", "198.51.100.9"), (CHALLENGE, "CNAME", TARGET)];

/// Checks the app's host while these questions get this response code, or no answer.
async fn with_failing(
    entries: &[ZoneEntry],
    public_ip: &[&str],
    code: Option<ResponseCode>,
    questions: &'static [DnsQuery],
) -> Preflight {
    let names = serve(&[BASE, ("example.org", entries)]).await;
    let front = failing(&names, code, questions).await;
    checker(front.address, public_ip).preflight(&host(APP), &[CA.to_owned()]).await
}

#[tokio::test]
async fn a_failed_lookup_that_the_decision_does_not_need_never_blocks_it() {
    use ChallengeKind::{Dns01, Http01, TlsAlpn01};
    type Decided =
        (&'static [ZoneEntry], &'static [&'static str], &'static [DnsQuery], &'static [ChallengeKind]);
    let here: &[ChallengeKind] = &[TlsAlpn01, Http01];
    let cases: [Decided; 8] = [
        (HERE, &[], &[(APP, SOA)], here),
        (HERE, &[], &[(CHALLENGE, CNAME)], here),
        (HERE, &[], &[(APP, CAA)], here),
        (HERE, &[], &[("org", CAA)], here),
        (HERE, &[], &[(APP, AAAA)], here),
        (HERE, &["192.0.2.1"], &[("gw.example", A), ("gw.example", AAAA)], here),
        (HERE, &[], &[(APP, SOA), (CHALLENGE, CNAME), (APP, CAA), (APP, AAAA)], here),
        (DELEGATED, &[], &[(APP, A), (APP, AAAA), (APP, SOA), (APP, CAA), ("gw.example", A)], &[Dns01]),
    ];
    for (entries, public_ip, questions, expected) in cases {
        for code in
            [ResponseCode::NotImp, ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::FormErr]
        {
            let found = with_failing(entries, public_ip, Some(code), questions).await;
            assert_eq!(found, Preflight::Ready(expected.to_vec()), "{code} for {questions:?}");
        }
        let found = with_failing(entries, public_ip, None, questions).await;
        assert_eq!(found, Preflight::Ready(expected.to_vec()), "no answer for {questions:?}");
    }
}

#[tokio::test]
async fn a_failed_lookup_that_the_decision_needs_is_named() {
    type Undecided = (&'static [ZoneEntry], &'static [DnsQuery], &'static str, &'static [&'static str]);
    let not_imp = Some(ResponseCode::NotImp);
    let cases: [Undecided; 5] = [
        (HERE, &[(APP, A)], "the A records of app.example.org could not be looked up", &[]),
        (
            HERE,
            &[("gw.example", A), ("gw.example", AAAA)],
            "records of gw.example could not be looked up",
            &[],
        ),
        (
            ELSEWHERE,
            &[(CHALLENGE, CNAME)],
            "the CNAME records of _acme-challenge.app.example.org could not",
            &["app.example.org CNAME gw.example"],
        ),
        (ELSEWHERE, &[(APP, CAA)], "leads to 198.51.100.9", &["app.example.org CNAME gw.example"]),
        // The name may be an apex: address records are valid everywhere.
        (
            ELSEWHERE,
            &[(APP, SOA)],
            "leads to 198.51.100.9",
            &["app.example.org A 192.0.2.1", "app.example.org AAAA 2001:db8::1"],
        ),
    ];
    for (entries, questions, expected, expected_records) in cases {
        let (reason, records) = missing(with_failing(entries, &[], not_imp, questions).await);
        assert!(reason.contains(expected), "{questions:?}: {reason}");
        assert_eq!(records, expected_records, "{questions:?}");
    }
}

#[tokio::test]
async fn without_enforcement_every_challenge_is_usable() {
    use ChallengeKind::{Dns01, Http01, TlsAlpn01};
    let every = Preflight::Ready(vec![TlsAlpn01, Http01, Dns01]);
    let other: &[ZoneEntry] = &[(APP, "A", "198.51.100.9"), ("example.org", "CAA", "other.example")];
    for (entries, expected) in [
        (&[][..], every.clone()),
        (other, every.clone()),
        (DELEGATED, Preflight::Ready(vec![Dns01, TlsAlpn01, Http01])),
    ] {
        let names =
            serve(&[("gw.example", &[("gw.example", "CAA", "other.example")]), ("example.org", entries)])
                .await;
        let checker = checker(names.address, &[]).with_enforcement(false);
        assert_eq!(checker.preflight(&host(APP), &[CA.to_owned()]).await, expected, "{entries:?}");
        assert_eq!(
            checker.preflight(&host("gw.example"), &[CA.to_owned()]).await,
            Preflight::Ready(vec![Dns01])
        );
        drop(names);
        let alone = checker.preflight(&host(APP), &[CA.to_owned()]).await;
        assert_eq!(alone, every, "nobody answers");
    }
}
