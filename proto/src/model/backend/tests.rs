//! Backends in every spelling, and the properties of all accepted ones.

use proptest::prelude::*;

use super::*;

#[test]
fn only_overlay_addresses_are_allowed_by_default() {
    let overlay = Prefixes::default();
    assert_eq!(overlay.to_string(), "400::/7");
    let good = Backend::parse("[54f:1::1]:8080").unwrap();
    assert_eq!(overlay.admit(good), Ok(good));
    for outside in ["[2001:db8::1]:80", "127.0.0.1:80", "[::1]:80", "[600::1]:80", "[::ffff:127.0.0.1]:80"] {
        let backend = Backend::parse(outside).unwrap();
        assert!(matches!(overlay.admit(backend), Err(InvalidBackendError::Prohibited(..))), "{outside}");
    }
    let mapped = Prefixes::new(vec!["127.0.0.0/8".parse().unwrap()]);
    assert!(mapped.admit(Backend::parse("[::ffff:127.0.0.1]:80").unwrap()).is_ok());
}

#[test]
fn an_invalid_backend_is_reported_with_its_reason() {
    for (text, error) in [
        ("400::1", InvalidBackendError::NoPort("400::1".into(), "[400::1]:8080".into())),
        ("[400::1]", InvalidBackendError::NoPort("[400::1]".into(), "[400::1]:8080".into())),
        ("192.168.1.5", InvalidBackendError::NoPort("192.168.1.5".into(), "192.168.1.5:8080".into())),
        ("54f:1::2:8080", InvalidBackendError::NoBrackets("54f:1::2:8080".into(), "[54f:1::2]:8080".into())),
        (
            "400:1:2:3:4:5:6:7:80",
            InvalidBackendError::NoBrackets("400:1:2:3:4:5:6:7:80".into(), "[400:1:2:3:4:5:6:7]:80".into()),
        ),
        ("400::1:beef", InvalidBackendError::NoPort("400::1:beef".into(), "[400::1:beef]:8080".into())),
        ("400::1:0", InvalidBackendError::NoPort("400::1:0".into(), "[400::1:0]:8080".into())),
        ("400::1:99999", InvalidBackendError::Malformed("400::1:99999".into())),
        ("[400::1]:0", InvalidBackendError::PortZero("[400::1]:0".into())),
        ("[400::1]:99999", InvalidBackendError::Malformed("[400::1]:99999".into())),
        ("[fe80::1%3]:80", InvalidBackendError::Malformed("[fe80::1%3]:80".into())),
        ("[400::1%0]:80", InvalidBackendError::Malformed("[400::1%0]:80".into())),
        ("[400::1%eth0]:80", InvalidBackendError::Malformed("[400::1%eth0]:80".into())),
        ("[400::1]:65536", InvalidBackendError::Malformed("[400::1]:65536".into())),
        ("[400::1]:-1", InvalidBackendError::Malformed("[400::1]:-1".into())),
        ("[00400::1]:80", InvalidBackendError::Malformed("[00400::1]:80".into())),
        ("010.0.0.1:80", InvalidBackendError::Malformed("010.0.0.1:80".into())),
        ("127.1:80", InvalidBackendError::Malformed("127.1:80".into())),
        ("example.org:80", InvalidBackendError::Malformed("example.org:80".into())),
        ("", InvalidBackendError::Malformed(String::new())),
    ] {
        assert_eq!(Backend::parse(text), Err(error), "{text}");
    }
}

#[test]
fn a_list_is_bounded_and_has_no_duplicates() {
    let prefixes = Prefixes::default();
    let many: Vec<String> = (1..=33).map(|i| format!("[400::{i:x}]:80")).collect();
    assert_eq!(Backends::parse(&many, &prefixes), Err(InvalidBackendsError::TooMany(33)));
    assert_eq!(Backends::parse(&many[..32], &prefixes).unwrap().as_slice().len(), 32);
    assert_eq!(Backends::parse::<&str>(&[], &prefixes), Err(InvalidBackendsError::None));
    let local = Prefixes::new(vec!["127.0.0.0/8".parse().unwrap()]);
    for (twice, prefixes) in
        [(["[400::1]:80", "[400:0::1]:080"], &prefixes), (["127.0.0.1:80", "[::ffff:127.0.0.1]:80"], &local)]
    {
        assert!(
            matches!(Backends::parse(&twice, prefixes), Err(InvalidBackendsError::Duplicate(_))),
            "{twice:?}"
        );
    }
}

/// Returns the spellings of one address and port.
fn spellings(address: Ipv6Addr, port: u16) -> Vec<String> {
    let full: Vec<String> = address.segments().iter().map(|segment| format!("{segment:04x}")).collect();
    let (full, short) = (full.join(":"), address.to_string());
    let [.., a, b, c, d] = address.octets();
    let dotted = format!("{}:{a}.{b}.{c}.{d}", &full[..29]);
    let mut all = vec![format!("[{short}]:{port:05}"), format!("[{dotted}]:{port}")];
    for text in [short, full] {
        all.extend([format!("[{text}]:{port}"), format!("[{}]:{port}", text.to_uppercase())]);
    }
    all
}

/// Generates addresses at the edges of the overlay, IPv4-mapped ones, and arbitrary ones.
fn addresses() -> impl Strategy<Value = Ipv6Addr> {
    let first = prop_oneof![Just(0x3ff), Just(0x400), Just(0x5ff), Just(0x600), Just(0), any::<u16>()];
    let overlay = (first, any::<u128>()).prop_map(|(first, rest)| u128::from(first) << 112 | rest >> 16);
    let mapped = any::<u32>().prop_map(|v4| 0xffff << 32 | u128::from(v4));
    prop_oneof![overlay, mapped, any::<u128>()].prop_map(Ipv6Addr::from)
}

proptest! {
    #[test]
    fn all_spellings_of_an_address_are_the_same_backend(address in addresses(), port in any::<u16>()) {
        for text in spellings(address, port) {
            let Ok(backend) = Backend::parse(&text) else {
                prop_assert_eq!(port, 0, "{}", text);
                continue;
            };
            prop_assert_ne!(port, 0);
            prop_assert_eq!(backend.address(), SocketAddr::new(IpAddr::V6(address).to_canonical(), port));
            prop_assert_eq!(Backend::parse(&backend.to_string()), Ok(backend));
            let inside = (0x400..=0x5ff).contains(&address.segments()[0]);
            prop_assert_eq!(Prefixes::default().admit(backend).is_ok(), inside, "{}", text);
        }
    }

    #[test]
    fn ipv4_is_inside_ipv4_prefixes_only(v4 in any::<std::net::Ipv4Addr>(), port in 1..=u16::MAX, bits in 0..=32u8) {
        let prefix = ipnet::Ipv4Net::new(v4, bits).unwrap().trunc();
        let prefixes = Prefixes::new(vec![IpNet::V4(prefix)]);
        for text in [format!("{v4}:{port}"), format!("[::ffff:{v4}]:{port}"), format!("[{}]:{port}", v4.to_ipv6_mapped())] {
            let backend = Backend::parse(&text).unwrap();
            prop_assert_eq!(backend.to_string(), format!("{v4}:{port}"));
            prop_assert_eq!(prefixes.admit(backend), Ok(backend));
            prop_assert!(Prefixes::default().admit(backend).is_err());
            let everything = Prefixes::new(vec!["::/0".parse().unwrap()]);
            prop_assert!(everything.admit(backend).is_err(), "an IPv6 prefix does not contain IPv4");
        }
    }

    #[test]
    fn any_text_is_canonicalized_or_rejected(
        near in "[\\[]?[0-9a-fA-F:.%]{0,40}[\\]]?(:[0-9]{0,6})?",
        bytes in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        for text in [near, String::from_utf8_lossy(&bytes).into_owned()] {
            if let Ok(backend) = Backend::parse(&text) {
                prop_assert!(backend.address().port() != 0 && !text.contains('%'));
                prop_assert_eq!(Backend::parse(&backend.to_string()), Ok(backend));
                prop_assert_eq!(backend.address().ip(), backend.address().ip().to_canonical());
                let json = serde_json::to_string(&backend).unwrap();
                prop_assert_eq!(serde_json::from_str::<Backend>(&json).unwrap(), backend);
            }
        }
    }
}
