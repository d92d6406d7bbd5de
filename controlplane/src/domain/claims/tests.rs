//! Tests of the decision: tables of claims and evidence, and properties.

use std::collections::BTreeSet;

use proptest::prelude::*;
use time::Duration;

use super::*;

const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

/// Returns the claim of the owner with this letter: `A` holds the host, `a` only claims it.
fn claim(letter: char) -> Claim {
    let number = letter.to_ascii_lowercase() as u8;
    Claim {
        route: RouteId::from_bytes([number; 16]),
        owner: owner(letter),
        expires_at: letter.is_ascii_lowercase().then_some(NOW + Duration::DAY),
        suspended: false,
        nested: false,
    }
}

fn owner(letter: char) -> KeyId {
    format!("{}.pub", letter.to_ascii_lowercase()).parse().unwrap()
}

/// Returns evidence from a text such as `a+`: TXT records name `a`, and the host leads here. `?` stands for a failed
/// lookup of TXT records, `!` for a failed lookup of addresses.
fn evidence(text: &str) -> HostEvidence {
    let owners: BTreeSet<KeyId> = text.chars().filter(char::is_ascii_lowercase).map(owner).collect();
    let failed = |mark| text.contains(mark).then(|| "no answer in time".to_owned());
    let elsewhere = HostTarget::Elsewhere { reason: String::new(), records: Vec::new() };
    let target = if text.contains('+') { HostTarget::Here } else { elsewhere };
    HostEvidence { owners: failed('?').map_or(Ok(owners), Err), target: failed('!').map_or(Ok(target), Err) }
}

/// Returns the decision as text: the winner and its proof, then the loser.
fn summary(claims: &[Claim], evidence: &HostEvidence) -> String {
    let letter = |route: RouteId| char::from(route.as_bytes()[0]);
    let decision = decide(claims, evidence, NOW);
    let proven = decision.proven.map(|(route, proof)| format!("{} {proof:?}", letter(route)));
    let displaced = decision.displaced.map(|route| format!(" for {}", letter(route)));
    [proven, displaced].into_iter().flatten().collect()
}

#[test]
fn a_host_goes_to_whom_the_dns_names() {
    for (claims, dns, expected) in [
        // Nobody holds it.
        ("a", "", ""),
        ("a", "+", "a Dns"),
        ("a", "a", "a Txt"),
        ("a", "a+", "a Txt"),
        ("ab", "+", ""),
        ("ab", "b", "b Txt"),
        ("ab", "ab", "a Txt"),
        // A TXT record for someone else keeps all others out.
        ("a", "z+", ""),
        ("ab", "z+", ""),
        // Someone holds it.
        ("A", "+", ""),
        ("Ab", "+", ""),
        ("Ab", "", ""),
        ("Ab", "b", "b Txt for a"),
        ("Ab", "b+", "b Txt for a"),
        ("Ab", "ab", ""),
        ("Ab", "a", ""),
        ("Ab", "z", ""),
        ("Abc", "c", "c Txt for a"),
        // The DNS cannot be asked.
        ("a", "?", ""),
        ("a", "?+", ""),
        ("Ab", "?b+", ""),
        ("a", "!", ""),
        ("a", "!a", "a Txt"),
        ("Ab", "!b", "b Txt for a"),
    ] {
        let claims: Vec<Claim> = claims.chars().map(claim).collect();
        assert_eq!(summary(&claims, &evidence(dns)), expected, "{claims:?} {dns}");
    }
}

#[test]
fn a_suspended_owner_wins_nothing_and_a_nested_host_needs_a_txt_record() {
    let suspended = |letter| Claim { suspended: true, ..claim(letter) };
    let nested = |letter| Claim { nested: true, ..claim(letter) };
    for (claims, dns, expected) in [
        (vec![suspended('a')], "a+", ""),
        (vec![suspended('a'), claim('b')], "+", "b Dns"),
        (vec![suspended('a'), claim('b')], "ab", "b Txt"),
        (vec![suspended('A'), claim('b')], "+", ""),
        (vec![suspended('A'), claim('b')], "b", "b Txt for a"),
        (vec![nested('a')], "+", ""),
        (vec![nested('a')], "a+", "a Txt"),
        (vec![nested('a'), claim('b')], "+", "b Dns"),
    ] {
        assert_eq!(summary(&claims, &evidence(dns)), expected, "{claims:?} {dns}");
    }
}

#[test]
fn a_claim_expires_only_if_the_dns_answered_and_proved_nothing() {
    let expired = |letter| Claim { expires_at: Some(NOW), ..claim(letter) };
    let claims = [claim('H'), expired('a'), claim('b'), expired('c')];
    let routes = |dns: &str| decide(&claims, &evidence(dns), NOW).expired;
    assert_eq!(routes(""), [claims[1].route, claims[3].route]);
    assert_eq!(routes("+"), [claims[1].route, claims[3].route]);
    assert_eq!(routes("c"), [claims[1].route], "the winner does not expire");
    for failed in ["?", "!", "?!"] {
        assert_eq!(routes(failed), [], "{failed}");
    }
}

fn claims() -> impl Strategy<Value = Vec<Claim>> {
    let one = (0..5u8, any::<bool>(), any::<bool>(), -1..2i64);
    (proptest::collection::vec(one, 0..6), proptest::option::of(0..6usize)).prop_map(|(all, holder)| {
        let mut seen = BTreeSet::new();
        let unique = all.into_iter().filter(|(number, ..)| seen.insert(*number));
        let claim = |(at, (number, suspended, nested, days)): (usize, (u8, bool, bool, i64))| Claim {
            expires_at: (Some(at) != holder).then_some(NOW + Duration::days(days)),
            suspended,
            nested,
            ..claim(char::from(b'a' + number))
        };
        unique.enumerate().map(claim).collect()
    })
}

proptest! {
    #[test]
    fn every_decision_is_sound(claims in claims(), dns in "[a-f]{0,3}[+?!]{0,2}") {
        let evidence = evidence(&dns);
        let decision = decide(&claims, &evidence, NOW);
        let of = |route| claims.iter().find(|claim| claim.route == route).unwrap();
        if evidence.owners.is_err() {
            prop_assert_eq!(&decision, &Decision::default());
        }
        if let Some((winner, proof)) = decision.proven {
            prop_assert!(!of(winner).is_held() && !of(winner).suspended && !decision.expired.contains(&winner));
            match proof {
                Proof::Txt => prop_assert!(evidence.names(&of(winner).owner)),
                Proof::Dns => {
                    let others = claims.iter().filter(|claim| claim.route != winner);
                    prop_assert!(others.clone().all(|other| !other.is_held() && (other.suspended || other.nested)));
                    prop_assert!(!of(winner).nested && evidence.target == Ok(HostTarget::Here));
                }
            }
        }
        if let Some(loser) = decision.displaced {
            prop_assert!(of(loser).is_held() && !evidence.names(&of(loser).owner));
            prop_assert!(matches!(decision.proven, Some((_, Proof::Txt))));
        }
        for route in &decision.expired {
            prop_assert!(of(*route).expires_at.is_some_and(|at| at <= NOW) && evidence.target.is_ok());
        }
    }

    /// The same evidence changes nothing more after a second decision: one claim may expire first that contests another.
    #[test]
    fn decisions_come_to_rest(claims in claims(), dns in "[a-f]{0,3}[+]{0,1}") {
        let once = after(claims, &evidence(&dns));
        let twice = after(once, &evidence(&dns));
        prop_assert_eq!(decide(&twice, &evidence(&dns), NOW), Decision::default());
    }
}

/// Returns the claims after the decision about them.
fn after(claims: Vec<Claim>, evidence: &HostEvidence) -> Vec<Claim> {
    let decision = decide(&claims, evidence, NOW);
    let proven = decision.proven.map(|(route, _)| route);
    let change = |claim: Claim| match claim.route {
        route if Some(route) == proven => Claim { expires_at: None, ..claim },
        route if Some(route) == decision.displaced => {
            Claim { expires_at: Some(NOW + Duration::DAY), ..claim }
        }
        _ => claim,
    };
    let remains = |claim: &Claim| !decision.expired.contains(&claim.route);
    claims.into_iter().filter(remains).map(change).collect()
}
