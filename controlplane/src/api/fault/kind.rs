//! The kinds of error: the stable word, the code and an example of each.

use std::str::FromStr;
use std::sync::Arc;

use time::OffsetDateTime;
use webgateway_proto::api::jsonrpc::{ErrorObject, code};
use webgateway_proto::api::{MAX_BODY, MAX_PAGE};
use webgateway_proto::httpsig::{Failure, UnknownComponent};
use webgateway_proto::model::{self, RemoteAddress, RouteId};
use webgateway_proto::model::{
    Backends, Host, InvalidBackends, InvalidHealthCheck, KeyId, NodeName, Prefixes, UnsuitableOptionError,
};

use super::without_store;
use super::{Unfit, malformed, no_method, not_json, of_our_own, refused, too_large, too_slow, turned, unfit};
use crate::api::auth::AuthFailure;
use crate::api::jsonrpc::Malformed;
use crate::api::keys::{KeyServerFailed, UnusableKey};
use crate::domain::{NodeRefusal, Refusal, UserRefusal};
use crate::store::StoreError;
use crate::store::users::Suspension;

/// Declares the kinds, each with its word, its code and an example: the error itself, or what is refused with it.
macro_rules! kinds {
    ($($kind:ident = $word:literal, $code:ident, $example:expr;)*) => {
        /// What went wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(in crate::api) enum Kind { $($kind,)* }

        impl Kind {
            /// Every kind there is.
            pub(in crate::api) const ALL: &[Self] = &[$(Self::$kind,)*];

            /// The stable word for it: `kind` in an error's `data`.
            pub(in crate::api) const fn word(self) -> &'static str {
                match self { $(Self::$kind => $word,)* }
            }

            /// The error's code.
            pub(in crate::api) const fn code(self) -> i64 {
                match self { $(Self::$kind => code::$code,)* }
            }

            fn provoked(self) -> Result<ErrorObject, Refusal> {
                match self { $(Self::$kind => $example,)* }
            }
        }
    };
}

kinds! {
    // What is no call, or none of ours.
    ParseError = "parse_error", PARSE_ERROR, Ok(malformed(&Malformed::NotJson("EOF while parsing a string".to_owned())));
    InvalidRequest = "invalid_request", INVALID_REQUEST, Ok(malformed(&Malformed::NotACall("missing field `method`".to_owned())));
    EmptyBatch = "empty_batch", INVALID_REQUEST, Ok(malformed(&Malformed::EmptyBatch));
    MediaType = "media_type", INVALID_REQUEST, Ok(not_json().1);
    Timeout = "timeout", INVALID_REQUEST, Ok(too_slow().1);
    NoHost = "no_host", INVALID_REQUEST, away(AuthFailure::NoAuthority);
    BodyTooLarge = "body_too_large", TOO_LARGE, Ok(too_large(MAX_BODY).1);
    BatchTooLarge = "batch_too_large", TOO_LARGE, Ok(malformed(&Malformed::LargeBatch(101)));
    MethodNotFound = "method_not_found", METHOD_NOT_FOUND, Ok(no_method("routes.destroy"));
    PositionalParams = "positional_params", INVALID_PARAMS, Ok(malformed(&Malformed::by_position()));

    // Who asks.
    Unsigned = "unsigned", UNAUTHENTICATED, away(Failure::Unsigned);
    SignatureMalformed = "signature_malformed", UNAUTHENTICATED, away(Failure::Malformed("signature-input"));
    SeveralSignatures = "several_signatures", UNAUTHENTICATED, away(Failure::Several);
    LabelMismatch = "label_mismatch", UNAUTHENTICATED, away(Failure::Label);
    SignatureParameter = "signature_parameter", UNAUTHENTICATED, away(Failure::Param("created"));
    NotCovered = "not_covered", UNAUTHENTICATED, away(Failure::Uncovered("@method"));
    Component = "component", UNAUTHENTICATED, away(Failure::from(UnknownComponent::Absent("x-trace".to_owned())));
    Stale = "stale", UNAUTHENTICATED, away(Failure::Stale(3600));
    Expired = "expired", UNAUTHENTICATED, away(Failure::Expired);
    Algorithm = "algorithm", UNAUTHENTICATED, away(Failure::Algorithm);
    DigestMissing = "digest_missing", UNAUTHENTICATED, away(Failure::DigestMissing);
    DigestMalformed = "digest_malformed", UNAUTHENTICATED, away(Failure::DigestMalformed);
    DigestMismatch = "digest_mismatch", UNAUTHENTICATED, away(Failure::DigestMismatch);
    Forged = "forged", UNAUTHENTICATED, away(Failure::Forged);
    WrongAuthority = "wrong_authority", UNAUTHENTICATED, away(AuthFailure::Authority("other.example.com".to_owned()));
    UnknownKey = "unknown_key", UNAUTHENTICATED, away(AuthFailure::UnknownKey(USER.parse()?));
    UnusableKey = "unusable_key", UNAUTHENTICATED, away(AuthFailure::UnusableKey(USER.parse()?, UnusableKey::TooLarge));
    NonceMissing = "nonce_missing", UNAUTHENTICATED, away(AuthFailure::NonceNeeded);
    Replayed = "replayed", UNAUTHENTICATED, away(AuthFailure::Replayed);
    KeysUnavailable = "keys_unavailable", UNAVAILABLE, away(AuthFailure::KeysAway(USER.parse()?, Arc::new(KeyServerFailed::Late)));

    // What every method may come to.
    InvalidParams = "invalid_params", INVALID_PARAMS, Ok(unfit(Unfit::unknown("hots")));
    Internal = "internal", INTERNAL_ERROR, Ok(of_our_own());
    Unavailable = "unavailable", UNAVAILABLE, Ok(without_store(&StoreError::Interrupted));

    // Who may.
    AdminOnly = "admin_only", FORBIDDEN, Err(Refusal::AdminOnly);
    Suspended = "suspended", FORBIDDEN, Err(suspended()?.into());
    SuspendAdmin = "suspend_admin", FORBIDDEN, Err(UserRefusal::SuspendAdmin.into());
    InvalidUser = "invalid_user", INVALID_PARAMS, Err(KeyId::from_str("../user1").map_or_else(Refusal::from, unknown));
    UserNotFound = "user_not_found", NOT_FOUND, Err(unknown(USER.parse()?));
    InvalidReason = "invalid_reason", INVALID_PARAMS, Err(UserRefusal::Reason(model::InvalidReason::Long).into());
    InvalidUntil = "invalid_until", INVALID_PARAMS, Err(UserRefusal::Until.into());
    QuotaAdmin = "quota_admin", FORBIDDEN, Err(UserRefusal::QuotaAdmin.into());
    QuotaExceeded = "quota_exceeded", FORBIDDEN, Err(UserRefusal::Routes { have: 10, most: 10 }.into());
    RateLimited = "rate_limited", UNAVAILABLE, Err(UserRefusal::TooFast { most: 60, retry_after: 37 }.into());

    // Routes.
    InvalidId = "invalid_id", INVALID_PARAMS, Err(RouteId::from_str("myapp").map_or_else(Refusal::from, Refusal::NoRoute));
    HostMissing = "host_missing", INVALID_PARAMS, Err(Refusal::NoHost);
    TwoHosts = "two_hosts", INVALID_PARAMS, Err(Refusal::TwoHosts);
    InvalidHost = "invalid_host", INVALID_PARAMS, host("app..example.org").and(Err(Refusal::NoHost));
    HostReserved = "host_reserved", INVALID_PARAMS, Err(Refusal::Reserved("subdomain", host("www.gateway.example.com")?));
    PassthroughNeedsFqdn = "passthrough_needs_fqdn", INVALID_PARAMS, Err(Refusal::PassthroughSubdomain);
    BackendMissing = "backend_missing", INVALID_PARAMS, Err(InvalidBackends::None.into());
    TooManyBackends = "too_many_backends", INVALID_PARAMS, Err(InvalidBackends::TooMany(33).into());
    DuplicateBackend = "duplicate_backend", INVALID_PARAMS, backends(&["[400::1]:80", "[400:0::1]:80"]);
    InvalidBackend = "invalid_backend", INVALID_PARAMS, backends(&["[2001:db8::1]:80"]);
    InvalidHealth = "invalid_health", INVALID_PARAMS, Ok(unfit(Unfit::of("health", &InvalidHealthCheck::Interval)));
    PassthroughHealth = "passthrough_health", INVALID_PARAMS, Err(UnsuitableOptionError::HealthPath.into());
    RouteNotFound = "route_not_found", NOT_FOUND, Err(Refusal::NoRoute(ROUTE.parse()?));
    HostTaken = "host_taken", CONFLICT, Err(Refusal::HostTaken { host: host("myapp.gateway.example.com")?, own: None });
    IdTaken = "id_taken", CONFLICT, Err(Refusal::IdTaken(ROUTE.parse()?));
    StaleVersion = "stale_version", CONFLICT, Err(Refusal::Stale { expected: 1207, actual: 1211 });

    // Lists.
    InvalidLimit = "invalid_limit", INVALID_PARAMS, Err(Refusal::Limit(MAX_PAGE));
    InvalidWait = "invalid_wait", INVALID_PARAMS, Err(Refusal::Wait);
    InvalidCursor = "invalid_cursor", INVALID_PARAMS, Err(Refusal::Cursor);

    // Certificates.
    CertificateNotFound = "certificate_not_found", NOT_FOUND, Err(Refusal::NoCertificate("www.example.org".to_owned()));
    NoInternalCa = "no_internal_ca", NOT_FOUND, Err(Refusal::NoRoot);

    // Nodes.
    InvalidNode = "invalid_node", INVALID_PARAMS, Err(name("edge 2").map_or_else(|refused| refused, NodeRefusal::Taken).into());
    InvalidAddress = "invalid_address", INVALID_PARAMS, Err(address("gateway").err().unwrap_or(NodeRefusal::NoAddress).into());
    AddressMissing = "address_missing", INVALID_PARAMS, Err(NodeRefusal::NoAddress.into());
    InvalidTtl = "invalid_ttl", INVALID_PARAMS, Err(NodeRefusal::Ttl.into());
    NodeNotFound = "node_not_found", NOT_FOUND, Err(NodeRefusal::Unknown("edge9".to_owned()).into());
    NodeTaken = "node_taken", CONFLICT, Err(NodeRefusal::Taken(name("edge2")?).into());
    NoRemoteNodes = "no_remote_nodes", CONFLICT, Err(NodeRefusal::NoRemoteNodes.into());
}

const USER: &str = "user1.pub";
const ROUTE: &str = "019cade2-11c0-7d6f-8a3b-5c2d9e4f1a60";

fn away(failure: impl Into<AuthFailure>) -> Result<ErrorObject, Refusal> {
    Ok(turned(&failure.into()).1)
}

fn unknown(user: KeyId) -> Refusal {
    UserRefusal::Unknown(user).into()
}

fn suspended() -> Result<UserRefusal, Refusal> {
    let reason = Some("the bill of January".parse().map_err(UserRefusal::Reason)?);
    let since = OffsetDateTime::UNIX_EPOCH;
    let suspension = Box::new(Suspension { reason, since, until: None });
    Ok(UserRefusal::Suspended { user: USER.parse()?, suspension })
}

fn host(text: &str) -> Result<Host, Refusal> {
    Host::parse(text).map_err(|error| Refusal::InvalidHost("fqdn", error))
}

fn backends(texts: &[&str]) -> Result<ErrorObject, Refusal> {
    Err(Backends::parse(texts, &Prefixes::default()).err().unwrap_or(InvalidBackends::None).into())
}

fn name(text: &str) -> Result<NodeName, NodeRefusal> {
    text.parse().map_err(NodeRefusal::Name)
}

fn address(text: &str) -> Result<RemoteAddress, NodeRefusal> {
    text.parse().map_err(NodeRefusal::Address)
}

impl Kind {
    /// An error of this kind, as a client gets it.
    pub(in crate::api) fn example(self) -> ErrorObject {
        self.provoked().unwrap_or_else(|refusal| refused(&refusal))
    }

    /// What a request may come to before a method is called, signed or not.
    pub(in crate::api) const ANY_REQUEST: &[Self] = &[
        Self::ParseError,
        Self::InvalidRequest,
        Self::EmptyBatch,
        Self::MediaType,
        Self::Timeout,
        Self::NoHost,
        Self::BodyTooLarge,
        Self::BatchTooLarge,
        Self::MethodNotFound,
        Self::PositionalParams,
    ];

    /// What a signed request may come to besides; and one that is not signed, but has to be.
    pub(in crate::api) const SIGNED_REQUEST: &[Self] = &[
        Self::Unsigned,
        Self::SignatureMalformed,
        Self::SeveralSignatures,
        Self::LabelMismatch,
        Self::SignatureParameter,
        Self::NotCovered,
        Self::Component,
        Self::Stale,
        Self::Expired,
        Self::Algorithm,
        Self::DigestMissing,
        Self::DigestMalformed,
        Self::DigestMismatch,
        Self::Forged,
        Self::WrongAuthority,
        Self::UnknownKey,
        Self::UnusableKey,
        Self::NonceMissing,
        Self::Replayed,
        Self::KeysUnavailable,
    ];
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_an_example_of_its_own() {
        let mut words = BTreeSet::new();
        for kind in Kind::ALL {
            let error = kind.example();
            let data = error.data.unwrap();
            assert_eq!((error.code, &*data.kind), (kind.code(), kind.word()));
            assert!(!error.message.is_empty() && words.insert(kind.word()), "{kind:?}");
        }
    }
}
