//! Headers of both versions: valid, malformed and incomplete ones.

use proptest::prelude::*;
use webgateway_proto::model::options::ProxyProtocol;

use super::*;

/// Returns a header of version 2 with these bytes after the signature and the length of `content`.
fn v2(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, content].concat()
}

const V4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 2, 0x30, 0x39, 1, 0xbb];

fn client(source: &str, destination: &str) -> Announcement {
    Announcement::Client(Endpoints::new(source.parse().unwrap(), destination.parse().unwrap()))
}

fn v6_content(source: &str, destination: &str) -> Vec<u8> {
    let octets = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
    [&octets(source)[..], &octets(destination), &[0x30, 0x39, 1, 0xbb]].concat()
}

#[test]
fn valid_headers_announce_the_client_or_the_sender() {
    let v4 = client("192.0.2.1:12345", "198.51.100.2:443");
    let v6 = client("[2001:db8::1]:12345", "[2001:db8::2]:443");
    let text = |text: &str| text.as_bytes().to_vec();
    let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(MAX_LINE - 16));
    assert_eq!(longest.len(), MAX_LINE);
    let large_extension = [V4, &[0xe0, 0x1f, 0x90], &[0; 0x1f90]].concat();
    for (header, expected) in [
        (text("PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\n"), v4),
        (text("PROXY TCP4 192.0.2.1 198.51.100.2 0 65535\r\n"), client("192.0.2.1:0", "198.51.100.2:65535")),
        (text("PROXY TCP6 2001:db8::1 2001:db8::2 12345 443\r\n"), v6),
        (text("PROXY TCP6 2001:DB8:0:0:0:0:0:1 2001:db8::2 12345 443\r\n"), v6),
        (text("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.2 12345 443\r\n"), v4),
        (
            text("PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 12345 443\r\n"),
            client("192.0.2.1:12345", "[2001:db8::2]:443"),
        ),
        (text("PROXY UNKNOWN\r\n"), Announcement::Sender),
        (text("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"), Announcement::Sender),
        (text("PROXY UNKNOWN anything  at all\r\n"), Announcement::Sender),
        (b"PROXY UNKNOWN \xff\xff\r\n".to_vec(), Announcement::Sender),
        (text(&longest), Announcement::Sender),
        (v2(PROXY, TCP4, V4), v4),
        (v2(PROXY, TCP4, &[V4, &[2, 0, 1, b'a']].concat()), v4),
        (v2(PROXY, TCP4, &[V4, &[4, 0, 0], &[0xea, 0, 2, 1, 2]].concat()), v4),
        (v2(PROXY, TCP4, &large_extension), v4),
        (v2(PROXY, TCP6, &v6_content("2001:db8::1", "2001:db8::2")), v6),
        (v2(PROXY, TCP6, &v6_content("::ffff:192.0.2.1", "::ffff:198.51.100.2")), v4),
        (v2(LOCAL, 0, &[]), Announcement::Sender),
        (v2(LOCAL, TCP4, V4), Announcement::Sender),
        (v2(LOCAL, 0xff, &[1, 2, 3]), Announcement::Sender),
        (v2(PROXY, 0, &[]), Announcement::Sender),
        (v2(PROXY, 0x12, V4), Announcement::Sender),
        (v2(PROXY, 0x31, &[0; 216]), Announcement::Sender),
    ] {
        let shown = String::from_utf8_lossy(&header).into_owned();
        assert_eq!(decode(&header), Ok(Some((expected, header.len()))), "{shown:?}");
        let followed = [&header[..], b"\x16\x03\x01PROXY "].concat();
        assert_eq!(decode(&followed), Ok(Some((expected, header.len()))), "{shown:?}, followed by others");
        for end in 0..header.len() {
            assert_eq!(decode(&header[..end]), Ok(None), "{end} bytes of {shown:?}");
        }
    }
}

/// Bytes that are text, and the error of each.
const MALFORMED_LINES: &[(&str, HeaderError)] = &[
    ("GET / HTTP/1.1\r\n\r\n", HeaderError::Missing),
    ("\x16\x03\x01\x02\0\x01", HeaderError::Missing),
    (" PROXY TCP4", HeaderError::Missing),
    ("proxy TCP4", HeaderError::Missing),
    ("PROXY\r\n", HeaderError::Missing),
    ("PROXX", HeaderError::Missing),
    ("\r\n\r\n\0\r\nQUIT\r", HeaderError::Missing),
    ("PROXY \r\n", HeaderError::Line),
    ("PROXY  TCP4 192.0.2.1 198.51.100.2 1 2\r\n", HeaderError::Line),
    ("PROXY TCP4  192.0.2.1 198.51.100.2 1 2\r\n", HeaderError::Line),
    ("PROXY TCP4 192.0.2.1 198.51.100.2 1 2 \r\n", HeaderError::Line),
    ("PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n", HeaderError::Line),
    ("PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n", HeaderError::Line),
    ("PROXY TCP4 192.0.2.1 198.51.100.2 1 \r\n", HeaderError::Line),
    ("PROXY TCP4 192.0.2.1 198.51.100.2 1 2\n", HeaderError::Line),
    ("PROXY TCP4 192.0.2.1 198.51.100.2 1 2\r\r\n", HeaderError::Line),
    ("PROXY TCP4 192.0.2.1\t198.51.100.2 1 2\r\n", HeaderError::Line),
    ("PROXY TCP4 192.0.2.1 198.51.100.2 1 65536\r\n", HeaderError::Line),
    ("PROXY TCP4 192.0.2.1 198.51.100.2 1 -2\r\n", HeaderError::Line),
    ("PROXY TCP4 192.0.2.1 198.51.100.2 +1 2\r\n", HeaderError::Line),
    ("PROXY TCP4 192.0.2.1 198.51.100.2 01 2\r\n", HeaderError::Line),
    ("PROXY TCP4 192.0.2.01 198.51.100.2 1 2\r\n", HeaderError::Line),
    ("PROXY TCP4 192.0.2 198.51.100.2 1 2\r\n", HeaderError::Line),
    ("PROXY TCP4 192.0.2.256 198.51.100.2 1 2\r\n", HeaderError::Line),
    ("PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n", HeaderError::Line),
    ("PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n", HeaderError::Line),
    ("PROXY TCP6 [2001:db8::1] 2001:db8::2 1 2\r\n", HeaderError::Line),
    ("PROXY TCP6 fe80::1%lo fe80::2 1 2\r\n", HeaderError::Line),
    ("PROXY TCP5 192.0.2.1 198.51.100.2 1 2\r\n", HeaderError::Line),
    ("PROXY tcp4 192.0.2.1 198.51.100.2 1 2\r\n", HeaderError::Line),
    ("PROXY UDP4 192.0.2.1 198.51.100.2 1 2\r\n", HeaderError::Line),
    ("PROXY UNKNOWNS\r\n", HeaderError::Line),
    ("PROXY UNKNOWN\n", HeaderError::Line),
];

#[test]
fn malformed_headers_are_refused_at_the_first_wrong_byte() {
    let lines = MALFORMED_LINES.iter().map(|(text, error)| (text.as_bytes().to_vec(), *error));
    let mut table: Vec<_> = lines.collect();
    table.extend([
        (b"PROXY TCP4 \xff 198.51.100.2 1 2\r\n".to_vec(), HeaderError::Line),
        ([b"PROXY UNKNOWN ", &[b'f'; MAX_LINE][..]].concat(), HeaderError::TooLarge),
        ([b"PROXY UNKNOWN ", &[b'f'; MAX_LINE - 15][..], b"\r\n"].concat(), HeaderError::TooLarge),
        (v2(0x11, TCP4, V4), HeaderError::Unknown),
        (v2(0x31, TCP4, V4), HeaderError::Unknown),
        (v2(0x22, TCP4, V4), HeaderError::Unknown),
        (v2(PROXY, 0x41, V4), HeaderError::Unknown),
        (v2(PROXY, 0x13, V4), HeaderError::Unknown),
        (v2(PROXY, TCP4, &V4[1..]), HeaderError::Length),
        (v2(PROXY, TCP4, &[]), HeaderError::Length),
        (v2(PROXY, TCP6, V4), HeaderError::Length),
        (v2(PROXY, TCP4, &[V4, &[2]].concat()), HeaderError::Length),
        (v2(PROXY, TCP4, &[V4, &[2, 0]].concat()), HeaderError::Length),
        (v2(PROXY, TCP4, &[V4, &[2, 0, 2, b'a']].concat()), HeaderError::Length),
        (v2(PROXY, TCP4, &[0; MAX_BINARY]), HeaderError::TooLarge),
        (v2(LOCAL, 0, &[0; 0xffff]), HeaderError::TooLarge),
    ]);
    for (header, expected) in table {
        let shown = String::from_utf8_lossy(&header[..header.len().min(64)]).into_owned();
        assert_eq!(decode(&header), Err(expected), "{shown:?}");
        let first = (0..=header.len()).map(|end| decode(&header[..end])).find(|read| *read != Ok(None));
        assert_eq!(first, Some(Err(expected)), "{shown:?} byte by byte");
    }
}

#[test]
fn an_origin_is_announced_in_the_family_of_its_addresses() {
    for (source, destination, line) in [
        ("192.0.2.1:12345", "198.51.100.2:443", "PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\n"),
        (
            "[::ffff:192.0.2.1]:12345",
            "[::ffff:198.51.100.2]:443",
            "PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\n",
        ),
        ("[2001:db8::1]:1", "[2001:db8::2]:2", "PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n"),
        ("192.0.2.1:1", "[2001:db8::2]:2", "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1 2\r\n"),
        ("[2001:db8::1]:1", "192.0.2.1:2", "PROXY TCP6 2001:db8::1 ::ffff:192.0.2.1 1 2\r\n"),
    ] {
        let endpoints = Endpoints::new(source.parse().unwrap(), destination.parse().unwrap());
        let origin = |name: &str| Origin { endpoints, server_name: name.into() };
        assert_eq!(*origin("").header(ProxyProtocol::V1), *line.as_bytes(), "{source} to {destination}");
        assert!(origin("a.example").header(ProxyProtocol::Off).is_empty());
        let announced = Announcement::Client(endpoints);
        for name in ["", "a.example", &"a".repeat(255)] {
            let header = origin(name).header(ProxyProtocol::V2);
            assert_eq!(decode(&header), Ok(Some((announced, header.len()))));
            assert!(header.ends_with(name.as_bytes()));
            let without = origin("").header(ProxyProtocol::V2).len();
            assert_eq!(header.len() - without, if name.is_empty() { 0 } else { 3 + name.len() });
        }
    }
    let v4 = Endpoints::new("192.0.2.1:12345".parse().unwrap(), "198.51.100.2:443".parse().unwrap());
    let expected = v2(PROXY, TCP4, &[V4, &[2, 0, 1, b'a']].concat());
    assert_eq!(*Origin { endpoints: v4, server_name: "a".into() }.header(ProxyProtocol::V2), *expected);
}

#[test]
fn health_checks_announce_no_client() {
    for protocol in [ProxyProtocol::V1, ProxyProtocol::V2] {
        let header = local_header(protocol);
        assert_eq!(decode(header), Ok(Some((Announcement::Sender, header.len()))), "{protocol}");
    }
    assert!(local_header(ProxyProtocol::Off).is_empty());
}

proptest! {
    #[test]
    fn any_input_is_read_alike_in_any_fragmentation(
        start in prop::sample::select(vec![&b"PROXY TCP4 "[..], b"PROXY TCP6 ", b"PROXY ", &SIGNATURE, b""]),
        rest in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        fuzz::proxy_header(&[start, &rest].concat());
    }

    #[test]
    fn any_addresses_survive_the_round_trip(v6: bool, source: [u8; 16], destination: [u8; 16], from: u16, to: u16) {
        let family = if v6 { TCP6 } else { TCP4 };
        let size = if v6 { 16 } else { 4 };
        let content = [&source[..size], &destination[..size], &from.to_be_bytes(), &to.to_be_bytes()].concat();
        fuzz::proxy_header(&v2(PROXY, family, &content));
    }
}
