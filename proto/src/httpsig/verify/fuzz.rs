//! Fuzz target of signatures: a signature base is unambiguous, and no signed part of a request can be changed.

use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use sfv::{Dictionary, FieldType as _, ListEntry, Parser};

use super::{MAX_SIGNATURES, RequestSignature, VerifiedSignature, candidates};
use crate::httpsig::base::write_input;
use crate::httpsig::coverage::covers;
use crate::httpsig::{Evidence, Message, PrivateKey, PublicKeys, SignatureError, check_digest};
use crate::model::KeyId;

/// The time of all signatures.
const NOW: i64 = 1_700_000_000;

/// The signed requests, which the corpus contains with their signatures.
const SIGNED: [&str; 4] = [
    include_str!("../../../../tests/fuzz/corpora/signatures/strict"),
    include_str!("../../../../tests/fuzz/corpora/signatures/date"),
    include_str!("../../../../tests/fuzz/corpora/signatures/parts"),
    include_str!("../../../../tests/fuzz/corpora/signatures/parameter"),
];

/// The signed requests, each with its verified signature.
static ORIGINALS: LazyLock<Vec<(Request<Bytes>, RequestSignature, VerifiedSignature)>> =
    LazyLock::new(|| {
        let verified = |text: &&str| {
            let request = request(text.as_bytes())?;
            let (signature, signed) = verdicts(&request).into_iter().find_map(Result::ok)?;
            Some((request, signature, signed))
        };
        let originals: Vec<_> = SIGNED.iter().filter_map(verified).collect();
        assert_eq!(originals.len(), SIGNED.len(), "the samples verify");
        originals
    });

/// Reads a request: a line with method and URI, a line for each field, an empty line, and the body.
pub(crate) fn signatures(input: &[u8]) {
    let Some(request) = request(input) else { return };
    let message = Message { method: request.method(), uri: request.uri(), headers: request.headers() };
    let found = candidates(request.headers()).unwrap_or_default();
    assert!(found.len() <= MAX_SIGNATURES);
    for signature in found.into_iter().filter_map(|candidate| candidate.signature.ok()) {
        is_written_as_read(&signature);
        has_one_meaning(&signature, &message);
    }
    for (signature, signed) in verdicts(&request).into_iter().filter_map(Result::ok) {
        is_original(&request, &signature, &signed);
    }
}

/// Returns each verified signature, and the errors of the others.
fn verdicts(request: &Request<Bytes>) -> Vec<Result<(RequestSignature, VerifiedSignature), SignatureError>> {
    let keys = PublicKeys::from(PrivateKey::from_seed(&[7; 32]).public());
    let message = Message { method: request.method(), uri: request.uri(), headers: request.headers() };
    let verdict = |signature: RequestSignature| {
        signature.check_coverage(request.uri(), &[])?;
        signature.check_freshness(request.headers(), NOW)?;
        check_digest(request.headers(), request.body())?;
        let signed = signature.verify_any(&message, &keys)?;
        Ok((signature, signed))
    };
    let found = candidates(request.headers()).unwrap_or_default();
    found.into_iter().map(|candidate| candidate.signature.and_then(verdict)).collect()
}

/// Checks that a verified request equals the signed one in all parts that affect its execution.
fn is_original(request: &Request<Bytes>, signature: &RequestSignature, signed: &VerifiedSignature) {
    let original = ORIGINALS.iter().find(|(_, _, original)| original.base == signed.base);
    let Some((was, by, _)) = original else { unreachable!("a forgery: {request:?}") };
    let covers = |names: &[&str]| names.iter().any(|name| covers(&signature.input, name));
    assert_eq!(request.body(), was.body());
    assert_eq!(request.uri().path(), was.uri().path());
    assert_eq!(request.uri().query(), was.uri().query());
    assert!(!covers(&["@method"]) || request.method() == was.method());
    assert!(!covers(&["@authority", "@target-uri"]) || is_same_authority(request, was));
    assert_eq!(signature.key_id(), by.key_id());
    assert_eq!(signature.one_time_token(), by.one_time_token());
    assert!(signature.one_time_token().is_ok_and(|token| token.is_some()), "it could be sent again");
    let evidence = Evidence::new(signed, request.body());
    assert_eq!(evidence.check().as_ref(), Ok(signature.key_id()));
}

fn is_same_authority(request: &Request<Bytes>, was: &Request<Bytes>) -> bool {
    let authority = |request: &Request<Bytes>| {
        Message { method: request.method(), uri: request.uri(), headers: request.headers() }.authority()
    };
    authority(request) == authority(was)
}

/// Checks that each component has one line in the base, and that the parameters have the last one.
fn has_one_meaning(signature: &RequestSignature, message: &Message<'_>) {
    let Ok(base) = message.base(&signature.input) else { return };
    assert!(!base.contains('\r'), "{base}");
    let lines: Vec<&str> = base.split('\n').collect();
    let (last, components) = lines.split_last().unwrap_or((&"", &[]));
    assert_eq!(components.len(), signature.input.items.len(), "{base}");
    for (line, item) in components.iter().zip(&signature.input.items) {
        assert!(line.starts_with(&format!("{}: ", item.serialize())), "{base}");
    }
    assert_eq!(*last, format!("\"@signature-params\": {}", write_input(&signature.input)));
}

fn is_written_as_read(signature: &RequestSignature) {
    let written = format!("s={}", write_input(&signature.input));
    let read: Result<Dictionary, _> = Parser::new(written.as_bytes()).parse();
    let read = read.ok().and_then(|mut read| read.swap_remove("s"));
    assert_eq!(read, Some(ListEntry::InnerList(signature.input.clone())), "{written}");
    let key_id: Option<KeyId> = signature.key_id().as_str().parse().ok();
    assert_eq!(key_id.as_ref(), Some(signature.key_id()));
}

fn request(input: &[u8]) -> Option<Request<Bytes>> {
    let end = input.windows(2).position(|two| two == b"\n\n")?;
    let mut lines = input.get(..end)?.split(|byte| *byte == b'\n');
    let mut start = lines.next()?.split(|byte| *byte == b' ');
    let (method, uri) = (start.next()?, start.next()?);
    let mut request = Request::builder().method(method).uri(uri);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(line.get(..colon)?).ok()?;
        let value = HeaderValue::from_bytes(line.get(colon + 1..)?.trim_ascii()).ok()?;
        request = request.header(name, value);
    }
    let body = Bytes::copy_from_slice(input.get(end + 2..)?);
    request.body(body).ok().filter(|request| request.uri().authority().is_some())
}
