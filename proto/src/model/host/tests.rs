//! Host names in every spelling, and the properties of all accepted ones.

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::*;

#[test]
fn case_trailing_dot_and_unicode_are_normalized() {
    assert_eq!(Host::parse("App.Example.ORG.").unwrap().as_str(), "app.example.org");
    assert_eq!(Host::parse("bücher.example").unwrap().as_str(), "xn--bcher-kva.example");
    assert_eq!(Host::parse("XN--BCHER-KVA.example").unwrap().as_str(), "xn--bcher-kva.example");
}

#[test]
fn an_invalid_host_is_rejected_with_its_reason() {
    let long = format!("{}.{}.{}.{}.org", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(58));
    assert_eq!(long.len(), 254);
    assert_eq!(Host::parse(&long), Err(InvalidHostError::TooLong(254)));
    assert!(Host::parse(&long[1..]).is_ok());
    for (text, kind) in [
        ("", InvalidHostError::Empty),
        (".", InvalidHostError::EmptyLabel(".".into())),
        ("a..b", InvalidHostError::EmptyLabel("a..b".into())),
        ("*.x", InvalidHostError::Wildcard("*.x".into())),
        ("127.0.0.1", InvalidHostError::IpAddress("127.0.0.1".into())),
        ("[400::1]", InvalidHostError::IpAddress("[400::1]".into())),
        ("a.1", InvalidHostError::IpAddress("a.1".into())),
        ("127.0.0.0X7f", InvalidHostError::IpAddress("127.0.0.0X7f".into())),
        ("a.0x", InvalidHostError::IpAddress("a.0x".into())),
        ("１２７.0.0.1", InvalidHostError::IpAddress("１２７.0.0.1".into())),
        ("localhost", InvalidHostError::SingleLabel("localhost".into())),
        ("_acme-challenge.a.b", InvalidHostError::Forbidden("_acme-challenge.a.b".into())),
        ("-a.b", InvalidHostError::Forbidden("-a.b".into())),
        ("a b.c", InvalidHostError::Forbidden("a b.c".into())),
        ("a.b:80", InvalidHostError::Forbidden("a.b:80".into())),
        ("a.b/c", InvalidHostError::Forbidden("a.b/c".into())),
        ("xn--zzzzzz9999.b", InvalidHostError::Forbidden("xn--zzzzzz9999.b".into())),
    ] {
        assert_eq!(Host::parse(text), Err(kind), "{text}");
    }
}

#[test]
fn a_host_is_below_all_its_parents() {
    let base = Host::parse("gw.example").unwrap();
    let child = base.child("app").unwrap();
    let deep = child.child("x").unwrap();
    assert!(child.is_child_of(&base) && child.is_below(&base));
    assert!(!deep.is_child_of(&base) && deep.is_below(&base));
    assert!(!base.is_below(&base));
    assert!(!Host::parse("xgw.example").unwrap().is_below(&base));
    assert!(base.child("a.b").is_err());
}

/// Checks the requirements of RFC 1123 on a host, independently of the parser.
fn assert_valid(host: &Host) {
    let text = host.as_str();
    assert!(!text.is_empty() && text.len() <= MAX_HOST, "{text}");
    let labels: Vec<&str> = text.split('.').collect();
    assert!(labels.len() >= 2, "{text}");
    for label in &labels {
        assert!(
            (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-'),
            "{text}"
        );
        assert!(label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-')), "{text}");
    }
    let last = labels[labels.len() - 1];
    assert!(!last.bytes().all(|b| b.is_ascii_digit()), "{text} ends in a number");
    assert!(
        !last.starts_with("0x") || u128::from_str_radix(&last[2..], 16).is_err(),
        "{text} ends in a number"
    );
    assert!(text.parse::<std::net::IpAddr>().is_err(), "{text}");
    // Every A-label must be the canonical encoding of a U-label (RFC 5891 §5.4).
    let (unicode, valid) = idna::domain_to_unicode(text);
    assert!(valid.is_ok(), "{text}");
    assert_eq!(idna::domain_to_ascii(&unicode).ok().as_deref(), Some(text));
}

/// Generates texts that are almost hosts: labels of every kind, joined by every kind of dot.
fn almost_hosts() -> impl Strategy<Value = String> {
    let label = prop_oneof![
        4 => "[a-zA-Z0-9-]{1,12}",
        2 => "[a-zäßςøйजम日本\u{200d}éẞＡ１]{1,8}",
        1 => "(xn|XN|Xn)--[a-z0-9-]{0,12}",
        1 => "(0x|0X)?[0-9a-f]{0,4}",
        1 => "[a-z0-9]{60,65}",
        1 => "[_*:/@% a]{0,3}",
    ];
    (proptest::collection::vec((label, "[.。．｡]"), 1..8), any::<bool>()).prop_map(|(labels, dotted)| {
        let mut text: String = labels.into_iter().flat_map(|(label, dot)| [label, dot]).collect();
        if !dotted {
            text.pop();
        }
        text
    })
}

fn check(text: &str) {
    let Ok(host) = Host::parse(text) else { return };
    assert_valid(&host);
    assert_eq!(Host::parse(&host.to_string()).as_ref(), Ok(&host), "{text}");
    assert_eq!(Host::parse(&format!("{host}.")).as_ref(), Ok(&host), "{text}");
    assert_eq!(Host::parse(&host.as_str().to_ascii_uppercase()).as_ref(), Ok(&host), "{text}");
    let json = serde_json::to_string(&host).unwrap();
    assert_eq!(serde_json::from_str::<Host>(&json).unwrap(), host);
}

#[test]
fn the_generated_texts_are_often_valid_and_often_not() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut hosts = 0;
    for _ in 0..1000 {
        let text = almost_hosts().new_tree(&mut runner).unwrap().current();
        hosts += usize::from(Host::parse(&text).is_ok());
    }
    assert!((50..950).contains(&hosts), "{hosts} of 1000");
}

proptest! {
    #[test]
    fn an_accepted_host_is_valid_and_canonical(text in almost_hosts()) {
        check(&text);
    }

    #[test]
    fn any_text_is_valid_or_rejected(text in "\\PC{0,60}", bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        check(&text);
        check(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn a_child_is_below_its_parent_or_rejected(label in "\\PC{0,70}") {
        let parent = Host::parse("gw.example").unwrap();
        if let Ok(child) = parent.child(&label) {
            assert_valid(&child);
            prop_assert!(child.is_child_of(&parent), "{child}");
        }
    }
}
