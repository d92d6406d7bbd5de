//! Tests of framing: each kind of content has one framing, whatever the received fields say.

use http::Request;

use super::*;

type Pairs = [(&'static str, &'static str)];
/// The status and the version of a response, and whether it answers a HEAD request.
type ResponseKind = (u16, Version, bool);
type Framed = Result<(bool, &'static Pairs), FramingError>;

fn framed(method: &Method, version: Version, pairs: &Pairs, content: Content) -> Vec<(String, String)> {
    let mut builder = Request::builder().method(method).version(version);
    for (name, value) in pairs {
        builder = builder.header(*name, *value);
    }
    let (mut head, ()) = builder.body(()).unwrap().into_parts();
    frame_request(&mut head, content, &rules(Direction::ToBackend));
    listed(&head.headers)
}

/// The rules of a message whose Connection names the field X-Hop.
fn rules(direction: Direction) -> TrailerRules {
    let mut head = HeaderMap::new();
    head.insert("connection", HeaderValue::from_static("close, X-Hop"));
    TrailerRules::from_head(&head, direction)
}

fn listed(headers: &HeaderMap) -> Vec<(String, String)> {
    let pairs = headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    pairs.collect()
}

fn pairs(expected: &Pairs) -> Vec<(String, String)> {
    expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

const CHUNKED: (&str, &str) = ("transfer-encoding", "chunked");
const FIVE: (&str, &str) = ("content-length", "5");
const ZERO: (&str, &str) = ("content-length", "0");

#[test]
fn a_request_is_framed_by_its_content() {
    use Content::{Empty, Length, Unknown};
    let (get, post) = (Method::GET, Method::POST);
    let query = Method::from_bytes(b"QUERY").unwrap();
    let (h1, h2) = (Version::HTTP_11, Version::HTTP_2);
    let cases: &[(&Method, Version, &Pairs, Content, &Pairs)] = &[
        (&get, h1, &[], Empty, &[]),
        (&query, h1, &[], Empty, &[]),
        (&post, h1, &[], Empty, &[ZERO]),
        (&Method::PUT, h2, &[], Empty, &[ZERO]),
        (&Method::PATCH, h2, &[], Empty, &[ZERO]),
        (&get, h1, &[ZERO], Empty, &[ZERO]),
        (&get, h1, &[FIVE], Length(5), &[FIVE]),
        (&get, h2, &[("content-length", "005")], Length(5), &[FIVE]),
        (&get, h2, &[FIVE, FIVE], Length(5), &[FIVE]),
        (&get, h2, &[("content-length", "5, 5")], Length(5), &[FIVE]),
        (&get, h1, &[], Unknown, &[CHUNKED]),
        (&Method::HEAD, h2, &[], Unknown, &[CHUNKED]),
        (&post, h2, &[FIVE], Unknown, &[CHUNKED]),
        (&post, h1, &[("trailer", "X-A, Host, x-hop")], Unknown, &[("trailer", "x-a"), CHUNKED]),
        (&post, h1, &[("trailer", "host")], Unknown, &[CHUNKED]),
        (&post, h1, &[FIVE, ("trailer", "x-a")], Length(5), &[FIVE]),
        (&post, h2, &[FIVE, ("trailer", "x-a")], Length(5), &[CHUNKED, ("trailer", "x-a")]),
        (&post, h2, &[("trailer", "x-a")], Empty, &[ZERO]),
    ];
    for (method, version, given, content, expected) in cases {
        let mut got = framed(method, *version, given, *content);
        let mut expected = pairs(expected);
        got.sort();
        expected.sort();
        assert_eq!(got, expected, "{method} {version:?} {given:?} {content:?}");
    }
}

#[test]
fn a_response_is_framed_by_one_field() {
    use FramingError::{Coding, CodingInHttp10, Length};
    let (ok, old) = ((200, Version::HTTP_11, false), (200, Version::HTTP_10, false));
    let (head, empty, same) =
        ((200, Version::HTTP_11, true), (204, Version::HTTP_11, false), (304, Version::HTTP_11, false));
    let cases: &[(ResponseKind, &Pairs, Framed)] = &[
        (ok, &[], Ok((true, &[]))),
        (ok, &[FIVE], Ok((true, &[FIVE]))),
        (ok, &[FIVE, FIVE], Ok((true, &[FIVE]))),
        (ok, &[("content-length", "5 ,5")], Ok((true, &[FIVE]))),
        (ok, &[CHUNKED], Ok((true, &[CHUNKED]))),
        (ok, &[CHUNKED, FIVE], Ok((false, &[CHUNKED]))),
        (ok, &[CHUNKED, ("trailer", "X-A,set-cookie,X-HOP")], Ok((true, &[("trailer", "x-a"), CHUNKED]))),
        (ok, &[FIVE, ("trailer", "x-a")], Ok((true, &[FIVE]))),
        (head, &[FIVE], Ok((true, &[FIVE]))),
        (head, &[CHUNKED], Ok((true, &[CHUNKED]))),
        (same, &[FIVE], Ok((true, &[FIVE]))),
        (empty, &[ZERO], Ok((true, &[]))),
        (empty, &[FIVE], Ok((false, &[]))),
        (empty, &[CHUNKED], Ok((false, &[CHUNKED]))),
        (old, &[FIVE], Ok((false, &[FIVE]))),
        (old, &[CHUNKED], Err(CodingInHttp10)),
        (ok, &[FIVE, ZERO], Err(Length)),
        (ok, &[("content-length", "5, 6")], Err(Length)),
        (ok, &[("content-length", "5,")], Err(Length)),
        (ok, &[("content-length", "+5")], Err(Length)),
        (ok, &[("content-length", "")], Err(Length)),
        (ok, &[("content-length", "99999999999999999999")], Err(Length)),
        (ok, &[("transfer-encoding", "identity"), FIVE], Err(Coding)),
        (ok, &[("transfer-encoding", "gzip, chunked")], Err(Coding)),
        (ok, &[CHUNKED, CHUNKED], Err(Coding)),
        (ok, &[("transfer-encoding", "")], Err(Coding)),
    ];
    for ((status, version, is_head), given, expected) in cases {
        let mut builder = Response::builder().status(*status).version(*version);
        for (name, value) in *given {
            builder = builder.header(*name, *value);
        }
        let mut response = builder.body(()).unwrap();
        let reusable = frame_response(&mut response, *is_head, &rules(Direction::ToClient));
        let mut got = listed(response.headers());
        got.sort();
        match expected {
            Ok((expected, fields)) => {
                let mut fields = pairs(fields);
                fields.sort();
                assert_eq!((reusable, got), (Ok(*expected), fields), "{status} {given:?}");
            }
            Err(error) => assert_eq!(reusable, Err(*error), "{status} {given:?}"),
        }
    }
}

#[test]
fn only_fields_that_may_be_headers_are_trailers() {
    let mut given = HeaderMap::new();
    for name in
        ["x-sum", "x-hop", "x-forwarded-for", "x_sum", "content-length", "te", "if-match", "grpc-status"]
    {
        given.insert(name, HeaderValue::from_static("1"));
    }
    let passed = |direction| {
        let passed =
            rules(direction).filter(Frame::trailers(given.clone())).unwrap().into_trailers().unwrap();
        let mut names: Vec<String> = passed.keys().map(ToString::to_string).collect();
        names.sort();
        names
    };
    assert_eq!(passed(Direction::ToBackend), ["grpc-status", "x-sum"]);
    assert_eq!(passed(Direction::ToClient), ["grpc-status", "x-forwarded-for", "x-sum", "x_sum"]);
    let user = http::HeaderName::from_static("x-sum");
    let without_user = rules(Direction::ToBackend).excluding([&user].into_iter());
    let passed = without_user.filter(Frame::trailers(given.clone())).unwrap().into_trailers().unwrap();
    assert_eq!(passed.keys().collect::<Vec<_>>(), ["grpc-status"], "a field that the gateway sets");
    let data = rules(Direction::ToBackend).filter(Frame::data(Bytes::from_static(b"x"))).unwrap();
    assert_eq!(data.into_data().unwrap(), "x");
    let mut alone = HeaderMap::new();
    alone.insert("host", HeaderValue::from_static("1"));
    assert!(rules(Direction::ToClient).filter(Frame::trailers(alone)).is_none());
}
