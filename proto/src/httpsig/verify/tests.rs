//! The round trip of signing and verifying, and each requirement failing alone.

use bytes::Bytes;
use http::{Method, Request};
use proptest::prelude::*;

use super::*;
use crate::httpsig::FRESHNESS;
use crate::httpsig::{ComponentError, PrivateKey, TimeSource, check_digest, sign};

mod forms;
mod several;
mod vectors;

const NOW: i64 = 1_700_000_000;

fn key() -> PrivateKey {
    PrivateKey::from_seed(&[7; 32])
}

fn signed() -> Request<Bytes> {
    let mut request = Request::post("https://gw.example/rpc")
        .header("content-type", "application/json")
        .body(Bytes::from_static(b"{}"))
        .unwrap();
    sign(&mut request, &key(), &"user1.pub".parse().unwrap(), NOW, "n1").unwrap();
    request
}

fn verdict(request: &Request<Bytes>, now: i64) -> Result<(), SignatureError> {
    let signature = candidates(request.headers())?.remove(0).signature?;
    signature.check_coverage(request.uri(), &[])?;
    signature.check_freshness(request.headers(), now)?;
    check_digest(request.headers(), request.body())?;
    let message = Message { method: request.method(), uri: request.uri(), headers: request.headers() };
    signature.verify(&message, &key().public()).map(drop)
}

fn with_input(input: &str) -> Request<Bytes> {
    let mut request = signed();
    request.headers_mut().insert("signature-input", input.parse().unwrap());
    request
}

#[test]
fn a_signature_verifies_within_its_time_window() {
    for now in [NOW - FRESHNESS, NOW, NOW + FRESHNESS] {
        assert_eq!(verdict(&signed(), now), Ok(()));
    }
    let by_created = TimeSource::Created;
    assert_eq!(verdict(&signed(), NOW + FRESHNESS + 1), Err(SignatureError::Old(by_created, FRESHNESS + 1)));
    assert_eq!(
        verdict(&signed(), NOW - FRESHNESS - 1),
        Err(SignatureError::Future(by_created, FRESHNESS + 1))
    );
}

#[test]
fn every_change_of_a_signed_request_is_detected() {
    let mut request = signed();
    *request.method_mut() = Method::PUT;
    assert_eq!(verdict(&request, NOW), Err(SignatureError::Forged));
    let mut request = signed();
    *request.uri_mut() = "https://gw.example/rpc2".parse().unwrap();
    assert_eq!(verdict(&request, NOW), Err(SignatureError::Forged));
    let mut request = signed();
    request.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    assert_eq!(verdict(&request, NOW), Err(SignatureError::Forged));
    let mut request = signed();
    *request.body_mut() = Bytes::from_static(b"{ }");
    assert_eq!(verdict(&request, NOW), Err(SignatureError::DigestMismatch));
}

#[test]
fn each_requirement_fails_alone() {
    let full = r#"("@method" "@target-uri" "content-digest")"#;
    for (input, failure) in [
        (
            format!(r#"sig1=("@target-uri" "content-digest");created={NOW};keyid="k""#),
            SignatureError::Uncovered("@method".into()),
        ),
        (
            format!(r#"sig1=("@method" "@authority" "content-digest");created={NOW};keyid="k""#),
            SignatureError::Uncovered("@target-uri".into()),
        ),
        (
            format!(r#"sig1=("@method" "@target-uri");created={NOW};keyid="k""#),
            SignatureError::Uncovered("content-digest".into()),
        ),
        (format!(r#"sig1={full};created={NOW}"#), SignatureError::Param("keyid")),
        (format!(r#"sig1={full};created={NOW};keyid="../x""#), SignatureError::Param("keyid")),
        (format!(r#"sig1={full};keyid="k""#), SignatureError::Undated),
        (format!(r#"sig1={full};created="x";keyid="k""#), SignatureError::Param("created")),
        (format!(r#"sig1={full};created={NOW};keyid="k";nonce="""#), SignatureError::Param("nonce")),
        (format!(r#"sig1={full};created={NOW};keyid="k";expires={NOW}"#), SignatureError::Expired(0)),
        (format!(r#"sig1={full};created={NOW};keyid="k";alg="rsa-v1_5-sha256""#), SignatureError::Algorithm),
        (format!(r#"sig1={full};created={NOW};keyid="k""#), SignatureError::Forged),
        (format!(r#"sig2={full};created={NOW};keyid="k""#), SignatureError::Label),
        (
            format!(r#"sig1={full};created={NOW};keyid="k", sig1={full}"#),
            SignatureError::Repeated("sig1".into()),
        ),
        ("sig1=(".to_owned(), SignatureError::Malformed("Signature-Input")),
        ("sig1=1".to_owned(), SignatureError::Malformed("Signature-Input")),
        (
            format!(r#"sig1=("@method" "@target-uri" "content-digest" "x-none");created={NOW};keyid="k""#),
            SignatureError::Component(ComponentError::Absent("x-none".into())),
        ),
        (
            format!(r#"sig1=("@method" "@target-uri" "content-digest" "@method");created={NOW};keyid="k""#),
            SignatureError::Component(ComponentError::Twice("\"@method\"".into())),
        ),
        (
            format!(r#"sig1=("@method" "@target-uri" "content-digest" "date";sf);created={NOW};keyid="k""#),
            SignatureError::Component(ComponentError::Unsupported("\"date\";sf".into())),
        ),
    ] {
        assert_eq!(verdict(&with_input(&input), NOW), Err(failure), "{input}");
    }
    let mut request = signed();
    request.headers_mut().remove("signature");
    assert_eq!(verdict(&request, NOW), Err(SignatureError::Unsigned));
}

#[test]
fn the_peers_order_of_parameters_is_kept() {
    let input = format!(
        r#"sig1=("@method" "@authority" "@path" "content-digest");nonce="x";created={NOW};keyid="k";tag="t""#
    );
    let mut request = with_input(&input);
    let signature = candidates(request.headers()).unwrap().remove(0).signature.unwrap();
    let message = Message { method: request.method(), uri: request.uri(), headers: request.headers() };
    let base = message.base(&signature.input).unwrap();
    assert!(base.ends_with(&format!("\"@signature-params\": {}", &input[5..])), "{base}");
    let signature = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, key().sign(&base));
    request.headers_mut().insert("signature", format!("sig1=:{signature}:").parse().unwrap());
    assert_eq!(verdict(&request, NOW), Ok(()));
}

proptest! {
    #[test]
    fn parsing_never_panics(input in "\\PC{0,80}", signature in "\\PC{0,80}") {
        let mut headers = HeaderMap::new();
        if let (Ok(i), Ok(s)) = (input.parse(), signature.parse()) {
            headers.insert("signature-input", i);
            headers.insert("signature", s);
            let found = candidates(&headers);
            prop_assert!(found.is_err() || found.is_ok_and(|found| found.iter().all(|one| one.signature.is_err())));
        }
    }
}
