//! What a CA's refusal means for us, and its own words.

use instant_acme::{Error, Problem};
use thiserror::Error;
use time::OffsetDateTime;

use super::super::https::{ExchangeError, HttpsClient};

/// What a refusal means for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AcmeErrorKind {
    /// It may go better later.
    Later,
    /// The CA does not know our account.
    NoAccount,
    /// The CA does not know the order, or it is in no state for this.
    NoOrder,
    /// The certificate to be replaced has been, or cannot be.
    Replaced,
    /// The CA does not offer this.
    Unsupported,
}

/// Why a CA did not do what it was asked.
#[derive(Debug, Clone, Error)]
#[error("{words}")]
pub(crate) struct AcmeError {
    /// What it means.
    pub refusal: AcmeErrorKind,
    /// Its own words.
    pub words: String,
    /// When it wants to be asked again.
    pub retry_after: Option<OffsetDateTime>,
}

pub(super) fn self_refused(words: &str) -> AcmeError {
    AcmeError { refusal: AcmeErrorKind::Later, words: words.to_owned(), retry_after: None }
}

pub(super) fn refused(error: Error, https: &HttpsClient) -> AcmeError {
    let (refusal, words) = match &error {
        Error::Api(problem) => (meaning(problem), said(problem)),
        Error::Unsupported(what) => (AcmeErrorKind::Unsupported, format!("the CA does not offer {what}")),
        // The library's own check of what the CA made of `replaces`.
        Error::Other(inner) if inner.to_string().starts_with("replaces field") => {
            (AcmeErrorKind::Replaced, inner.to_string())
        }
        Error::Other(inner) => (refusal_of(inner.downcast_ref()), inner.to_string()),
        other => (AcmeErrorKind::Later, other.to_string()),
    };
    let retry_after = https.retry_after();
    AcmeError { refusal, words, retry_after }
}

/// Whether only the nonce was refused: nothing was done, the same can be asked at once (RFC 8555 §6.5).
pub(super) fn is_bad_nonce(error: &Error) -> bool {
    match error {
        Error::Api(problem) => problem.r#type.as_deref().is_some_and(|kind| kind.ends_with(":badNonce")),
        _ => false,
    }
}

fn refusal_of(no_answer: Option<&ExchangeError>) -> AcmeErrorKind {
    match no_answer {
        Some(ExchangeError::Status { status, .. }) if status.as_u16() == 404 => AcmeErrorKind::NoOrder,
        Some(_) | None => AcmeErrorKind::Later,
    }
}

/// RFC 8555 §6.7, RFC 9773 §7.4.
fn meaning(problem: &Problem) -> AcmeErrorKind {
    let kind = problem.r#type.as_deref().and_then(|kind| kind.rsplit(':').next()).unwrap_or_default();
    match (kind, problem.status) {
        ("accountDoesNotExist", _) => AcmeErrorKind::NoAccount,
        ("alreadyReplaced", _) | (_, Some(409)) => AcmeErrorKind::Replaced,
        (_, Some(404)) | ("orderNotReady", _) => AcmeErrorKind::NoOrder,
        // What a CA says to a `replaces` that it cannot make sense of.
        ("malformed", _) => AcmeErrorKind::Replaced,
        _ => AcmeErrorKind::Later,
    }
}

/// What the CA said, its subproblems included.
pub(super) fn said(problem: &Problem) -> String {
    let detail = problem.detail.as_deref().unwrap_or("the CA does not say what is wrong");
    let kind = problem.r#type.as_deref().and_then(|kind| kind.strip_prefix("urn:ietf:params:acme:error:"));
    let mut words = kind.map_or_else(|| detail.to_owned(), |kind| format!("{detail} ({kind})"));
    for sub in &problem.subproblems {
        words.push_str(&format!("; {sub}"));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(json: &str) -> Problem {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_cas_words_are_kept_and_their_meaning_is_read() {
        let limited = problem(
            r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many","status":429,
                "subproblems":[{"type":"x","detail":"slow down","identifier":{"type":"dns","value":"a.example"}}]}"#,
        );
        assert_eq!(meaning(&limited), AcmeErrorKind::Later);
        let words = said(&limited);
        assert!(words.starts_with("too many (rateLimited)") && words.contains("a.example"), "{words}");
        for (json, refusal) in [
            (r#"{"type":"urn:ietf:params:acme:error:accountDoesNotExist"}"#, AcmeErrorKind::NoAccount),
            (r#"{"type":"urn:ietf:params:acme:error:alreadyReplaced"}"#, AcmeErrorKind::Replaced),
            (r#"{"status":409}"#, AcmeErrorKind::Replaced),
            (r#"{"status":404}"#, AcmeErrorKind::NoOrder),
            (r#"{"type":"urn:ietf:params:acme:error:malformed","status":404}"#, AcmeErrorKind::NoOrder),
            (r#"{"type":"urn:ietf:params:acme:error:malformed","status":400}"#, AcmeErrorKind::Replaced),
            ("{}", AcmeErrorKind::Later),
        ] {
            assert_eq!(meaning(&problem(json)), refusal, "{json}");
        }
        let nonce = problem(r#"{"type":"urn:ietf:params:acme:error:badNonce","status":400}"#);
        assert!(is_bad_nonce(&Error::Api(nonce)) && !is_bad_nonce(&Error::Api(limited)));
    }
}
