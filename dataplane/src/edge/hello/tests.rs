//! Real hellos, at every prefix, in every split, over any records.

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

impl HelloReader {
    /// Takes the next bytes of the stream; returns the ClientHello once it is whole.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Option<ClientHello>, HelloError> {
        self.raw.extend_from_slice(bytes);
        self.step()
    }
}

pub(super) fn real_hellos() -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/clienthellos");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let hellos = files.filter(|path| path.extension().is_some_and(|e| e == "bin"));
    let mut all: Vec<_> = hellos
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap()))
        .collect();
    all.sort();
    assert!(all.len() >= 10);
    all
}

fn expected_sni(name: &str) -> Option<&'static str> {
    match name {
        "openssl-no-sni" | "openssl-ip-host" => None,
        _ => Some("app.gateway.example.com"),
    }
}

/// Cuts a single handshake record into records of at most `size` bytes of payload.
pub(super) fn rerecord(hello: &[u8], size: usize) -> Vec<u8> {
    let payload = &hello[5..];
    let header = |n: usize| [22, 3, 1, (n >> 8) as u8, n as u8];
    payload.chunks(size).flat_map(|chunk| [&header(chunk.len())[..], chunk].concat()).collect()
}

#[test]
fn a_prefix_is_incomplete_and_the_whole_is_read() {
    for (name, bytes) in real_hellos() {
        let mut reader = HelloReader::default();
        for (i, byte) in bytes.iter().enumerate() {
            let hello = reader.feed(&[*byte]).unwrap();
            assert_eq!(hello.is_some(), i + 1 == bytes.len(), "{name} at {i}");
            if let Some(hello) = hello {
                assert_eq!(hello.raw, bytes, "{name}: every byte is kept");
                assert_eq!(hello.sni.as_deref(), expected_sni(&name), "{name}");
                assert_eq!(hello.acme, name == "acme-tls-alpn", "{name}");
            }
        }
    }
}

#[test]
fn a_hello_in_two_pieces_is_the_same() {
    for (name, bytes) in real_hellos() {
        for at in 1..bytes.len() {
            let mut reader = HelloReader::default();
            assert!(reader.feed(&bytes[..at]).unwrap().is_none(), "{name} at {at}");
            let hello = reader.feed(&bytes[at..]).unwrap().unwrap();
            assert_eq!(hello.sni.as_deref(), expected_sni(&name), "{name} at {at}");
        }
    }
}

#[test]
fn a_hello_may_span_many_records() {
    for (name, bytes) in real_hellos() {
        for size in [1, 2, 3, 7, 100, 1000] {
            let cut = rerecord(&bytes, size);
            let hello = HelloReader::default().feed(&cut).unwrap();
            assert_eq!(hello.unwrap().sni.as_deref(), expected_sni(&name), "{name} in records of {size}");
        }
    }
}

/// A hello over 16 KiB needs more than one record: padded with an extension (RFC 7685).
#[test]
fn a_hello_over_16_kib_is_read() {
    let (_, bytes) = real_hellos().into_iter().find(|(name, _)| name == "openssl-s_client").unwrap();
    let padding = 20_000usize;
    let mut hello = bytes[5..].to_vec();
    let extensions_at = {
        let session = 4 + 2 + 32;
        let suites = session + 1 + usize::from(hello[session]);
        let compression = suites + 2 + usize::from(u16::from_be_bytes([hello[suites], hello[suites + 1]]));
        compression + 1 + usize::from(hello[compression])
    };
    let old = usize::from(u16::from_be_bytes([hello[extensions_at], hello[extensions_at + 1]]));
    let mut extension = vec![0, 21, (padding >> 8) as u8, padding as u8];
    extension.resize(4 + padding, 0);
    let new = old + extension.len();
    hello[extensions_at..extensions_at + 2].copy_from_slice(&[(new >> 8) as u8, new as u8]);
    hello.extend(extension);
    let length = hello.len() - 4;
    hello[1..4].copy_from_slice(&[(length >> 16) as u8, (length >> 8) as u8, length as u8]);
    let records = rerecord(&[&[0; 5], &hello[..]].concat(), 16_384);
    let read = HelloReader::default().feed(&records).unwrap().unwrap();
    assert_eq!(read.sni.as_deref(), Some("app.gateway.example.com"));
    assert_eq!(read.raw, records);
}

#[test]
fn early_data_behind_a_hello_is_kept_for_replay() {
    let (_, bytes) = real_hellos().into_iter().find(|(name, _)| name == "curl-openssl3").unwrap();
    let record = [&[23, 3, 3, 0x40, 0x00][..], &[7; 0x4000]].concat();
    let flight = [&bytes[..], &record, &record, &record].concat();
    let hello = HelloReader::default().feed(&flight).unwrap().unwrap();
    assert_eq!(hello.raw, flight);
    assert!(hello.unfed > 0);
}

#[test]
fn other_protocols_are_refused_at_once_without_an_alert() {
    for garbage in
        [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], b"SSH-2.0-OpenSSH_9.2\r\n", &[0; 64], &[0xff; 64]]
    {
        let refused = HelloReader::default().feed(garbage).err().unwrap();
        assert_eq!(refused, HelloError { reason: Refusal::NotTls, alert: Vec::new() });
    }
}

#[test]
fn an_invalid_hello_gets_an_alert() {
    let refused = HelloReader::default().feed(&[22, 3, 1, 0, 4, 2, 0, 0, 0]).err().unwrap();
    assert_eq!(refused.reason, Refusal::NotTls);
    assert_eq!(refused.alert.first(), Some(&21), "a record of type alert");
}

#[test]
fn a_hello_over_the_size_limit_is_refused() {
    let mut reader = HelloReader::default();
    let mut fed = 0;
    // The handshake message claims to be 16 MiB long.
    let mut chunk = [0u8; 1005];
    chunk[..9].copy_from_slice(&[22, 3, 1, 0x03, 0xe8, 1, 0xff, 0xff, 0xff]);
    let refused = loop {
        match reader.feed(&chunk) {
            Ok(hello) => assert!(hello.is_none()),
            Err(refused) => break refused,
        }
        fed += chunk.len();
        chunk[5..9].fill(0);
        assert!(fed <= HELLO_BYTES + chunk.len(), "read without bound");
    };
    assert!(matches!(refused.reason, Refusal::HelloTooLarge | Refusal::NotTls));
}

#[tokio::test]
async fn a_stream_that_ends_early_has_its_own_reason() {
    let mut half = &real_hellos()[0].1[..100];
    assert_eq!(read(&mut half).await.err().unwrap().reason, Refusal::Closed);
}

proptest! {
    #[test]
    fn no_input_panics_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..300), handshake: bool) {
        let mut bytes = bytes;
        if handshake && bytes.len() > 6 {
            bytes[..3].copy_from_slice(&[22, 3, 1]);
            bytes[5] = 1;
        }
        let _ = HelloReader::default().feed(&bytes);
    }

    #[test]
    fn random_fragmentation_does_not_matter(cuts in proptest::collection::vec(1usize..400, 1..20)) {
        let (_, bytes) = real_hellos().into_iter().find(|(name, _)| name == "chromium-pq-ech-grease").unwrap();
        let (mut reader, mut rest, mut found) = (HelloReader::default(), &bytes[..], None);
        for cut in cuts.iter().cycle() {
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            found = reader.feed(now).unwrap();
            rest = later;
            if rest.is_empty() { break }
        }
        let sni = found.unwrap().sni;
        prop_assert_eq!(sni.as_deref(), Some("app.gateway.example.com"));
    }
}
