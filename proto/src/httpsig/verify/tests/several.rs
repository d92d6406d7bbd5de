//! Several signatures in one request, in one field line or several.

use super::*;

/// A label with the key of its signature, or with the failure.
type Found = (String, Result<String, SignatureError>);

/// Returns what is found with these field lines: each label, and the key or the failure.
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
fn one_that_cannot_count_does_not_spoil_the_others() {
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
fn without_a_pair_or_with_too_many_there_is_none() {
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
