//! Errors of a CA: their classification, and the CA's own description.

use instant_acme::{Error, Problem};
use thiserror::Error;
use time::OffsetDateTime;

use super::super::https::{ExchangeError, HttpsClient};

/// The classes of errors, by the reaction that they call for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AcmeErrorKind {
    /// The request may succeed later.
    Retryable,
    /// The CA does not know our account.
    UnknownAccount,
    /// The CA does not know the order, or the order is in the wrong state for the request.
    UnknownOrder,
    /// The CA rejects the `replaces` field: the certificate is replaced already or unknown to it (RFC 9773 §5).
    ReplacesRejected,
    /// The CA does not offer the requested feature.
    Unsupported,
}

/// An error of a request to a CA.
#[derive(Debug, Clone, Error)]
#[error("{message}")]
pub(crate) struct AcmeError {
    /// The class of the error.
    pub kind: AcmeErrorKind,
    /// The CA's description, or that of the transport.
    pub message: String,
    /// The time before which the CA wants no other request, if it named one.
    pub retry_after: Option<OffsetDateTime>,
}

impl AcmeError {
    /// Returns an error that this process detected itself. The request may be repeated later.
    pub(super) fn local(message: &str) -> Self {
        Self { kind: AcmeErrorKind::Retryable, message: message.to_owned(), retry_after: None }
    }

    /// Classifies an error of the library, with the last `Retry-After` of `https`.
    pub(super) fn new(error: Error, https: &HttpsClient) -> Self {
        let (kind, message) = match &error {
            Error::Api(problem) => (kind_of_problem(problem), describe_problem(problem)),
            Error::Unsupported(feature) => {
                (AcmeErrorKind::Unsupported, format!("the CA does not offer {feature}"))
            }
            // The library rejects an order whose `replaces` field the CA did not repeat.
            Error::Other(inner) if inner.to_string().starts_with("replaces field") => {
                (AcmeErrorKind::ReplacesRejected, inner.to_string())
            }
            Error::Other(inner) => (kind_of_exchange_error(inner.downcast_ref()), inner.to_string()),
            other => (AcmeErrorKind::Retryable, other.to_string()),
        };
        Self { kind, message, retry_after: https.retry_after() }
    }
}

/// Returns true if the CA rejected only the nonce. Nothing was done; the request may be repeated at once (RFC 8555
/// §6.5).
pub(super) fn is_bad_nonce(error: &Error) -> bool {
    match error {
        Error::Api(problem) => problem.r#type.as_deref().is_some_and(|kind| kind.ends_with(":badNonce")),
        _ => false,
    }
}

fn kind_of_exchange_error(error: Option<&ExchangeError>) -> AcmeErrorKind {
    match error {
        Some(ExchangeError::Status { status, .. }) if status.as_u16() == 404 => AcmeErrorKind::UnknownOrder,
        Some(_) | None => AcmeErrorKind::Retryable,
    }
}

/// Classifies a problem document (RFC 8555 §6.7, RFC 9773 §7.4).
fn kind_of_problem(problem: &Problem) -> AcmeErrorKind {
    let kind = problem.r#type.as_deref().and_then(|kind| kind.rsplit(':').next()).unwrap_or_default();
    match (kind, problem.status) {
        ("accountDoesNotExist", _) => AcmeErrorKind::UnknownAccount,
        ("alreadyReplaced", _) | (_, Some(409)) => AcmeErrorKind::ReplacesRejected,
        (_, Some(404)) | ("orderNotReady", _) => AcmeErrorKind::UnknownOrder,
        // CAs answer so to a `replaces` field that they cannot parse.
        ("malformed", _) => AcmeErrorKind::ReplacesRejected,
        _ => AcmeErrorKind::Retryable,
    }
}

/// Formats a problem document with its subproblems.
pub(super) fn describe_problem(problem: &Problem) -> String {
    let detail = problem.detail.as_deref().unwrap_or("the CA gave no details");
    let kind = problem.r#type.as_deref().and_then(|kind| kind.strip_prefix("urn:ietf:params:acme:error:"));
    let mut message = kind.map_or_else(|| detail.to_owned(), |kind| format!("{detail} ({kind})"));
    for sub in &problem.subproblems {
        message.push_str(&format!("; {sub}"));
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(json: &str) -> Problem {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn problem_documents_are_classified_and_described() {
        let limited = problem(
            r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many","status":429,
                "subproblems":[{"type":"x","detail":"slow down","identifier":{"type":"dns","value":"a.example"}}]}"#,
        );
        assert_eq!(kind_of_problem(&limited), AcmeErrorKind::Retryable);
        let message = describe_problem(&limited);
        assert!(message.starts_with("too many (rateLimited)") && message.contains("a.example"), "{message}");
        for (json, kind) in [
            (r#"{"type":"urn:ietf:params:acme:error:accountDoesNotExist"}"#, AcmeErrorKind::UnknownAccount),
            (r#"{"type":"urn:ietf:params:acme:error:alreadyReplaced"}"#, AcmeErrorKind::ReplacesRejected),
            (r#"{"status":409}"#, AcmeErrorKind::ReplacesRejected),
            (r#"{"status":404}"#, AcmeErrorKind::UnknownOrder),
            (r#"{"type":"urn:ietf:params:acme:error:malformed","status":404}"#, AcmeErrorKind::UnknownOrder),
            (
                r#"{"type":"urn:ietf:params:acme:error:malformed","status":400}"#,
                AcmeErrorKind::ReplacesRejected,
            ),
            ("{}", AcmeErrorKind::Retryable),
        ] {
            assert_eq!(kind_of_problem(&problem(json)), kind, "{json}");
        }
        let nonce = problem(r#"{"type":"urn:ietf:params:acme:error:badNonce","status":400}"#);
        assert!(is_bad_nonce(&Error::Api(nonce)) && !is_bad_nonce(&Error::Api(limited)));
    }
}
