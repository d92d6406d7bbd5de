//! Several signatures in one request, in one field line or several.

use super::*;

/// A label with the key id of its signature, or with the error.
type Found = (String, Result<String, SignatureError>);

/// Parses these field lines and returns each label with its key id or error.
fn found(inputs: &[&str], signatures: &[&str]) -> Result<Vec<Found>, SignatureError> {
    let mut headers = HeaderMap::new();
    for (name, lines) in [("signature-input", inputs), ("signature", signatures)] {
        for line in lines {
            headers.append(name, line.parse().unwrap());
        }
    }
    let found = candidates(&headers)?.into_iter();
    let seen = found.map(|one| (one.label, one.signature.map(|good| good.key_id().to_string())));
    Ok(seen.collect())
}

const A: &str = r#"a=("@method");keyid="a.pub""#;
const B: &str = r#"b=("@path");keyid="b.pub""#;

fn good(label: &str) -> Found {
    (label.to_owned(), Ok(format!("{label}.pub")))
}

fn bad(label: &str, failure: SignatureError) -> Found {
    (label.to_owned(), Err(failure))
}

#[test]
fn each_signature_is_found_with_its_own_input() {
    let both = format!("{A}, {B}");
    for (inputs, signatures) in [
        (&[both.as_str()][..], &["a=:AAAA:, b=:BBBB:"][..]),
        (&[A, B], &["a=:AAAA:", "b=:BBBB:"]),
        (&[both.as_str()], &["b=:BBBB:", "a=:AAAA:"]),
        (&[A, B], &["b=:BBBB:, a=:AAAA:"]),
    ] {
        assert_eq!(found(inputs, signatures), Ok(vec![good("a"), good("b")]), "{inputs:?} {signatures:?}");
    }
    assert_eq!(found(&[B, A], &["a=:AAAA:, b=:BBBB:"]), Ok(vec![good("b"), good("a")]));
}

#[test]
fn an_invalid_signature_does_not_affect_the_others() {
    let repeated = || SignatureError::Repeated("b".to_owned());
    let malformed = || bad("", SignatureError::Malformed("Signature-Input"));
    for (inputs, signatures, other) in [
        (&[A][..], &["a=:AAAA:, b=:BBBB:"][..], bad("b", SignatureError::Label)),
        (&[A, B], &["a=:AAAA:"], bad("b", SignatureError::Label)),
        (&[A, B, B], &["a=:AAAA:, b=:BBBB:"], bad("b", repeated())),
        (&[A, B], &["a=:AAAA:, b=:BBBB:", "b=:BBBB:"], bad("b", repeated())),
        (&[A, B], &["a=:AAAA:, b=:BBBB:, b=:CCCC:"], bad("b", repeated())),
        (&[A, "b=("], &["a=:AAAA:, b=:BBBB:"], malformed()),
        (&[A, "b=1"], &["a=:AAAA:, b=:BBBB:"], bad("b", SignatureError::Malformed("Signature-Input"))),
        (&[A, B], &["a=:AAAA:, b=1"], bad("b", SignatureError::Malformed("Signature"))),
        (&[A, r#"b=("@path")"#], &["a=:AAAA:, b=:BBBB:"], bad("b", SignatureError::Param("keyid"))),
    ] {
        assert_eq!(found(inputs, signatures), Ok(vec![good("a"), other]), "{inputs:?} {signatures:?}");
    }
}

#[test]
fn no_pair_or_too_many_signatures_are_an_error() {
    assert_eq!(found(&[], &[]), Err(SignatureError::Unsigned));
    assert_eq!(found(&[A], &[]), Err(SignatureError::Unsigned));
    assert_eq!(found(&[""], &[""]), Err(SignatureError::Unsigned));
    assert_eq!(found(&[A], &["b=:BBBB:"]), Err(SignatureError::Label));
    assert_eq!(
        found(&["a=("], &["a=:AAAA:"]),
        Ok(vec![bad("", SignatureError::Malformed("Signature-Input"))])
    );
    let many: Vec<String> = (0..=MAX_SIGNATURES).map(|at| format!("s{at}=()")).collect();
    let signatures: Vec<String> = (0..=MAX_SIGNATURES).map(|at| format!("s{at}=:AAAA:")).collect();
    assert_eq!(
        found(&[&many.join(", ")], &[&signatures.join(",")]),
        Err(SignatureError::TooMany(MAX_SIGNATURES))
    );
}
