//! Lookups at a name server over a real socket.

use super::*;
use crate::dns::sample::serve;

#[tokio::test]
async fn aliases_are_followed_and_an_empty_answer_is_not_an_error() {
    let names = serve(&[
        (
            "example.org",
            &[
                ("a.example.org", "A", "192.0.2.1"),
                ("a.example.org", "AAAA", "2001:db8::1"),
                ("b.example.org", "CNAME", "C.Example.NET"),
                ("example.org", "CAA", "ca.example"),
            ],
        ),
        (
            "example.net",
            &[("c.example.net", "CNAME", "a.example.org"), ("l.example.net", "CNAME", "l.example.net")],
        ),
    ])
    .await;
    let resolver = Resolver::new(&[names.address]).unwrap();
    let addresses: BTreeSet<IpAddr> = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()].into();
    assert_eq!(resolver.addresses("a.example.org").await.unwrap(), addresses);
    assert_eq!(resolver.addresses("b.example.org").await.unwrap(), addresses);
    assert_eq!(resolver.alias("b.example.org").await.unwrap().as_deref(), Some("c.example.net"));
    assert!(resolver.is_alias_of("b.example.org", "a.example.org").await.unwrap());
    assert!(!resolver.is_alias_of("b.example.org", "example.org").await.unwrap());
    assert!(!resolver.is_alias_of("l.example.net", "a.example.org").await.unwrap(), "a loop ends");
    assert_eq!(resolver.addresses("none.example.org").await.unwrap(), BTreeSet::new());
    assert_eq!(resolver.alias("none.example.com").await.unwrap(), None);
    let caa = CaaRecord { critical: false, tag: "issue".into(), value: "ca.example".into() };
    assert_eq!(resolver.caa("example.org").await.unwrap(), [caa]);
    assert_eq!(resolver.caa("a.example.org").await.unwrap(), []);
    assert!(resolver.is_apex("example.org").await.unwrap());
    assert!(!resolver.is_apex("a.example.org").await.unwrap());
}

#[tokio::test]
async fn a_lookup_without_a_response_is_an_error() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let gone = socket.local_addr().unwrap();
    drop(socket);
    let error = Resolver::with_attempt_timeout(&[gone], Duration::from_millis(50))
        .unwrap()
        .caa("example.org")
        .await
        .unwrap_err();
    assert_eq!((error.name.as_str(), error.kind), ("example.org", "CAA"));
}
