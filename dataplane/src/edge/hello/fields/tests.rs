//! Tests with hand-made ClientHellos: some that the TLS library refuses and a passthrough accepts, some without a name.

use proptest::prelude::*;

use super::super::tests::{real_hellos, rerecord};
use super::super::{ClientHello, HelloError, HelloReader};
use super::*;

const HOST: &str = "app.gateway.example.com";
type Extension = (u16, Vec<u8>);

fn vector16(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// A `server_name` extension with these entries.
fn names(entries: &[(u8, &[u8])]) -> Extension {
    let entries: Vec<u8> =
        entries.iter().flat_map(|(kind, name)| [&[*kind][..], &vector16(name)].concat()).collect();
    (SERVER_NAME, vector16(&entries))
}

fn host() -> Extension {
    names(&[(HOST_NAME, HOST.as_bytes())])
}

/// A ClientHello in one record. `version` is that of the record and of the message.
fn hello(version: [u8; 2], compression: &[u8], extensions: &[Extension]) -> Vec<u8> {
    let extensions: Vec<u8> = extensions
        .iter()
        .flat_map(|(kind, body)| [&kind.to_be_bytes()[..], &vector16(body)].concat())
        .collect();
    let body = [
        &version[..],
        &[7; 32],
        &[0],
        &vector16(&[0xc0, 0x2f, 0, 0x2f]),
        &[u8::try_from(compression.len()).unwrap()],
        compression,
        &vector16(&extensions),
    ]
    .concat();
    let size = u32::try_from(body.len()).unwrap().to_be_bytes();
    let message = [&[CLIENT_HELLO], &size[1..], &body].concat();
    [&[RECORD_HANDSHAKE], &version[..], &vector16(&message)].concat()
}

fn read(bytes: &[u8]) -> Result<Option<ClientHello>, HelloError> {
    HelloReader::default().feed(bytes)
}

/// ClientHellos that the library refuses and a passthrough's backend may accept.
fn refused_by_the_library() -> Vec<(&'static str, Vec<u8>)> {
    let signatures = (13, vector16(&[4, 3]));
    let tls12 = [3, 3];
    vec![
        ("TLS 1.0", hello([3, 1], &[0], &[host()])),
        ("TLS 1.1", hello([3, 2], &[0], &[host()])),
        ("TLS 1.2 without signature_algorithms", hello(tls12, &[0], &[host()])),
        ("SSL 3.0", hello([3, 0], &[0], &[host()])),
        ("a compression alone", hello(tls12, &[1], &[host(), signatures.clone()])),
        ("no compression method", hello(tls12, &[], &[host(), signatures.clone()])),
        ("an extension twice", hello(tls12, &[0], &[host(), signatures.clone(), signatures.clone()])),
        ("a broken extension", hello(tls12, &[0], &[host(), signatures.clone(), (10, vec![9])])),
        ("an ALPN of nothing", hello(tls12, &[0], &[host(), signatures, (16, vec![0, 0])])),
    ]
}

#[test]
fn a_hello_that_the_library_refuses_has_a_name_once_complete() {
    for (what, bytes) in refused_by_the_library() {
        let mut reader = HelloReader::default();
        for (i, byte) in bytes.iter().enumerate() {
            let Some(hello) = reader.feed(&[*byte]).unwrap() else {
                assert!(i + 1 < bytes.len(), "{what}");
                continue;
            };
            assert_eq!(i + 1, bytes.len(), "{what}");
            assert_eq!((hello.sni.as_deref(), hello.acme, hello.unfed), (Some(HOST), false, 0), "{what}");
            assert_eq!(hello.raw, bytes, "{what}");
            let refusal = hello.accepted.err().unwrap();
            assert_eq!(refusal.alert.first(), Some(&21), "{what}: a route that ends TLS refuses it as ever");
        }
    }
}

#[test]
fn fragmentation_into_records_does_not_matter() {
    for (what, bytes) in refused_by_the_library() {
        for size in [1, 2, 3, 4, 5, 7, 60] {
            let cut = rerecord(&bytes, size);
            for at in 0..cut.len() {
                let mut reader = HelloReader::default();
                assert!(reader.feed(&cut[..at]).unwrap().is_none(), "{what} in records of {size} at {at}");
                let hello = reader.feed(&cut[at..]).unwrap().unwrap();
                assert_eq!(hello.sni.as_deref(), Some(HOST), "{what} in records of {size} at {at}");
                assert_eq!(hello.raw, cut);
            }
        }
    }
}

#[test]
fn names_are_read_as_the_library_reads_them() {
    for (asked, expected) in
        [("App.Gateway.Example.COM", HOST), ("app.gateway.example.com.", HOST), ("a_b", "a_b")]
    {
        let bytes = hello([3, 1], &[0], &[names(&[(HOST_NAME, asked.as_bytes())])]);
        assert_eq!(read(&bytes).unwrap().unwrap().sni.as_deref(), Some(expected), "{asked}");
    }
}

#[test]
fn a_hello_without_a_name_or_with_two_is_refused() {
    let beyond = |mut extension: Extension| {
        extension.1.push(0);
        extension
    };
    let mut cut_short = hello([3, 1], &[0], &[host()]);
    let last = cut_short.len() - 1;
    cut_short.truncate(last);
    let (record, message) = (u8::try_from(last - 5).unwrap(), u8::try_from(last - 9).unwrap());
    (cut_short[4], cut_short[8]) = (record, message);
    for (what, bytes) in [
        ("no extension", hello([3, 1], &[0], &[])),
        ("no name", hello([3, 1], &[0], &[(23, vec![])])),
        ("an empty list", hello([3, 1], &[0], &[names(&[])])),
        ("an empty name", hello([3, 1], &[0], &[names(&[(HOST_NAME, b"")])])),
        ("a name of another type", hello([3, 1], &[0], &[names(&[(1, b"x")])])),
        ("two names", hello([3, 1], &[0], &[names(&[(HOST_NAME, b"a.example"), (HOST_NAME, b"b.example")])])),
        ("two lists", hello([3, 1], &[0], &[host(), names(&[(HOST_NAME, b"b.example")])])),
        ("the same list twice", hello([3, 1], &[0], &[host(), host()])),
        ("a name that is no ASCII", hello([3, 1], &[0], &[names(&[(HOST_NAME, "ä.example".as_bytes())])])),
        ("bytes behind the list", hello([3, 1], &[0], &[beyond(host())])),
        ("a list that is cut short", cut_short),
    ] {
        assert!(read(&bytes).is_err(), "{what}");
    }
}

#[test]
fn real_hellos_are_read_as_the_library_reads_them() {
    for (name, bytes) in real_hellos() {
        let hello = read(&bytes).unwrap().unwrap();
        let fields = HelloFields::read(&bytes).unwrap();
        // An address is no name (RFC 6066 §3); the library leaves it out, and no route has it.
        if name != "openssl-ip-host" {
            assert_eq!(fields.sni, hello.sni, "{name}");
        }
        assert!(!fields.early_data, "{name}");
        assert_eq!(hello.accepted.is_err(), ["openssl-tls10", "openssl-tls11"].contains(&&*name), "{name}");
    }
}

proptest! {
    #[test]
    fn no_input_panics_the_parser(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = HelloFields::read(&bytes);
        let _ = HelloFields::read(&[&[RECORD_HANDSHAKE, 3, 1][..], &vector16(&bytes)].concat());
    }

    /// A hello with some bytes changed is never for another name than the library reads.
    #[test]
    fn mutated_hellos_are_read_as_the_library_reads_them(changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..6), which: usize) {
        let all = real_hellos();
        let (_, mut bytes) = all[which % all.len()].clone();
        for (at, value) in changes {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        if let Ok(Some(hello)) = read(&bytes) && hello.accepted.is_ok() {
            let fields = HelloFields::read(&bytes).unwrap();
            // A list with more than one host is none here.
            prop_assert!(hello.sni.is_none() || fields.sni.is_none() || fields.sni == hello.sni);
        }
    }
}
