//! The errors for requests that are not authenticated.

use http::StatusCode;
use tracing::{error, warn};
use webgateway_proto::httpsig::SignatureError;

use super::{ErrorBuilder, ErrorKind, HttpError, TRY_AGAIN, replayed_error, store_error};
use crate::api::auth::AuthError;

/// Returns the error for a request that is not authenticated, and logs the causes that only the operator can remove.
pub(in crate::api) fn unauthenticated(error: &AuthError) -> HttpError {
    log_for_operator(error);
    auth_error(error)
}

/// Logs the errors whose cause only the operator can remove.
fn log_for_operator(error: &AuthError) {
    match error {
        AuthError::UnusableKey(id, reason) => warn!(key = %id, %reason, "public key unusable"),
        AuthError::Store(error) => error!(%error, "store failed"),
        AuthError::SeveralSignatures { best, .. } => log_for_operator(best),
        AuthError::Signature(_)
        | AuthError::InvalidHost
        | AuthError::WrongAuthority(_)
        | AuthError::UnknownKey(_)
        | AuthError::KeyServerUnavailable(..)
        | AuthError::MissingNonce
        | AuthError::Replayed => {}
    }
}

/// Returns the error for a request that is not authenticated, with its HTTP status.
pub(super) fn auth_error(error: &AuthError) -> HttpError {
    let builder = match error {
        AuthError::Signature(failure) => signature_error(failure),
        AuthError::InvalidHost => {
            let builder = ErrorBuilder::new(ErrorKind::NoHost).field("host");
            return HttpError { status: StatusCode::BAD_REQUEST, error: builder.build(error.to_string()) };
        }
        AuthError::WrongAuthority(_) => ErrorBuilder::new(ErrorKind::WrongAuthority)
            .field("@authority")
            .hint("sign the URL you send to: the base domain over https, or the API's address and port"),
        AuthError::UnknownKey(_) => ErrorBuilder::new(ErrorKind::UnknownKey)
            .field("keyid")
            .hint("ask the operator to add your public key under this name"),
        AuthError::UnusableKey(..) => ErrorBuilder::new(ErrorKind::UnusableKey)
            .field("keyid")
            .hint("ask the operator to check this public key"),
        AuthError::KeyServerUnavailable(..) => {
            let builder = ErrorBuilder::new(ErrorKind::KeysUnavailable).field("keyid").hint(TRY_AGAIN);
            return HttpError {
                status: StatusCode::SERVICE_UNAVAILABLE,
                error: builder.build(error.to_string()),
            };
        }
        AuthError::SeveralSignatures { best, .. } => {
            let HttpError { status, error } = auth_error(best);
            if status != StatusCode::UNAUTHORIZED {
                return HttpError { status, error };
            }
            let (field, hint) = error.data.map_or((None, None), |data| (data.field, data.hint));
            ErrorBuilder { field, hint, ..ErrorBuilder::new(ErrorKind::SeveralSignatures) }
        }
        AuthError::MissingNonce => ErrorBuilder::new(ErrorKind::NonceMissing).field("nonce"),
        AuthError::Replayed => replayed_error(),
        AuthError::Store(error) => {
            return HttpError { status: StatusCode::SERVICE_UNAVAILABLE, error: store_error(error) };
        }
    };
    HttpError { status: StatusCode::UNAUTHORIZED, error: builder.build(error.to_string()) }
}

fn signature_error(failure: &SignatureError) -> ErrorBuilder {
    match failure {
        SignatureError::Unsigned => ErrorBuilder::new(ErrorKind::Unsigned)
            .hint("sign the request as RFC 9421 describes; gwctl does it with --id and --key"),
        SignatureError::Malformed(field) => ErrorBuilder::new(ErrorKind::SignatureMalformed).field(field),
        SignatureError::Repeated(_) | SignatureError::TooMany(_) => {
            ErrorBuilder::new(ErrorKind::SeveralSignatures).field("signature")
        }
        SignatureError::Label => ErrorBuilder::new(ErrorKind::LabelMismatch).field("signature"),
        SignatureError::Param(field) => ErrorBuilder::new(ErrorKind::SignatureParameter).field(field),
        SignatureError::Undated => ErrorBuilder::new(ErrorKind::SignatureParameter).field("created"),
        SignatureError::Uncovered(component) => {
            ErrorBuilder { field: Some(component.clone().into()), ..ErrorBuilder::new(ErrorKind::NotCovered) }
        }
        SignatureError::Component(_) => ErrorBuilder::new(ErrorKind::Component).field("signature-input"),
        SignatureError::Old(source, _) | SignatureError::Future(source, _) => {
            ErrorBuilder::new(ErrorKind::Stale).field(source.as_str())
        }
        SignatureError::Expired(_) => ErrorBuilder::new(ErrorKind::Expired).field("expires"),
        SignatureError::Algorithm => ErrorBuilder::new(ErrorKind::Algorithm).field("alg"),
        SignatureError::DigestMissing => ErrorBuilder::new(ErrorKind::DigestMissing).field("content-digest"),
        SignatureError::DigestMalformed => {
            ErrorBuilder::new(ErrorKind::DigestMalformed).field("content-digest")
        }
        SignatureError::DigestMismatch => {
            ErrorBuilder::new(ErrorKind::DigestMismatch).field("content-digest")
        }
        SignatureError::Forged => ErrorBuilder::new(ErrorKind::Forged)
            .field("signature")
            .hint("check that the private key belongs to the public key that `keyid` names"),
    }
}
