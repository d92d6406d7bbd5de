//! Content-Digest (RFC 9530).

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Algorithm, SHA256, SHA512, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};
use sfv::{Dictionary, ListEntry, Parser};

use super::error::SignatureError;

/// Returns the value of a Content-Digest field over `body`, with SHA-256.
#[must_use]
pub fn content_digest(body: &[u8]) -> HeaderValue {
    let text = format!("sha-256=:{}:", STANDARD.encode(digest(&SHA256, body)));
    // Base64 is always a valid field value.
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Checks every SHA-256 and SHA-512 digest of the Content-Digest field. At least one is required.
pub fn check_digest(headers: &HeaderMap, body: &[u8]) -> Result<(), SignatureError> {
    let mut known = 0;
    for value in headers.get_all("content-digest") {
        let parsed: Dictionary =
            Parser::new(value.as_bytes()).parse().map_err(|_| SignatureError::DigestMalformed)?;
        for (name, entry) in &parsed {
            let Some(algorithm) = algorithm(name.as_str()) else { continue };
            let ListEntry::Item(item) = entry else { return Err(SignatureError::DigestMalformed) };
            let expected = item.bare_item.as_byte_sequence().ok_or(SignatureError::DigestMalformed)?;
            verify_slices_are_equal(expected, digest(algorithm, body).as_ref())
                .map_err(|_| SignatureError::DigestMismatch)?;
            known += 1;
        }
    }
    if known == 0 { Err(SignatureError::DigestMissing) } else { Ok(()) }
}

fn algorithm(name: &str) -> Option<&'static Algorithm> {
    match name {
        "sha-256" => Some(&SHA256),
        "sha-512" => Some(&SHA512),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("content-digest", HeaderValue::from_str(value).unwrap());
        headers
    }

    /// RFC 9530 appendix B.1 and RFC 9421 appendix B.2.
    #[test]
    fn the_digests_of_the_rfcs_are_accepted() {
        let body = br#"{"hello": "world"}"#;
        let sha256 = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";
        let sha512 = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";
        assert_eq!(content_digest(body), sha256);
        assert_eq!(check_digest(&with(sha256), body), Ok(()));
        assert_eq!(check_digest(&with(sha512), body), Ok(()));
        assert_eq!(check_digest(&with(&format!("{sha256}, {sha512}")), body), Ok(()));
        assert_eq!(
            check_digest(&with(&format!("{sha256}, {sha512}")), b"x"),
            Err(SignatureError::DigestMismatch)
        );
    }

    #[test]
    fn a_missing_or_malformed_digest_is_an_error() {
        assert_eq!(check_digest(&HeaderMap::new(), b""), Err(SignatureError::DigestMissing));
        assert_eq!(check_digest(&with("md5=:AAAA:"), b""), Err(SignatureError::DigestMissing));
        assert_eq!(check_digest(&with("sha-256=:x"), b""), Err(SignatureError::DigestMalformed));
        assert_eq!(check_digest(&with("sha-256=1"), b""), Err(SignatureError::DigestMalformed));
    }
}
