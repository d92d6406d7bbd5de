//! The kinds of API errors, with the stable name and the code of each.

use webgateway_proto::api::jsonrpc::code;

/// Declares the kinds, each with its name and its code.
macro_rules! kinds {
    ($($kind:ident = $name:literal, $code:ident;)*) => {
        /// The kind of an API error.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(in crate::api) enum ErrorKind { $($kind,)* }

        impl ErrorKind {
            /// All kinds.
            pub(in crate::api) const ALL: &[Self] = &[$(Self::$kind,)*];

            /// Returns the stable name: `kind` in the `data` of an error.
            pub(in crate::api) const fn as_str(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// Returns the JSON-RPC error code.
            pub(in crate::api) const fn code(self) -> i64 {
                match self { $(Self::$kind => code::$code,)* }
            }
        }
    };
}

kinds! {
    // Invalid requests.
    ParseError = "parse_error", PARSE_ERROR;
    InvalidRequest = "invalid_request", INVALID_REQUEST;
    EmptyBatch = "empty_batch", INVALID_REQUEST;
    MediaType = "media_type", INVALID_REQUEST;
    Timeout = "timeout", INVALID_REQUEST;
    NoHost = "no_host", INVALID_REQUEST;
    BodyTooLarge = "body_too_large", TOO_LARGE;
    BatchTooLarge = "batch_too_large", TOO_LARGE;
    MethodNotFound = "method_not_found", METHOD_NOT_FOUND;
    PositionalParams = "positional_params", INVALID_PARAMS;

    // Authentication.
    Unsigned = "unsigned", UNAUTHENTICATED;
    SignatureMalformed = "signature_malformed", UNAUTHENTICATED;
    SeveralSignatures = "several_signatures", UNAUTHENTICATED;
    LabelMismatch = "label_mismatch", UNAUTHENTICATED;
    SignatureParameter = "signature_parameter", UNAUTHENTICATED;
    NotCovered = "not_covered", UNAUTHENTICATED;
    Component = "component", UNAUTHENTICATED;
    Stale = "stale", UNAUTHENTICATED;
    Expired = "expired", UNAUTHENTICATED;
    Algorithm = "algorithm", UNAUTHENTICATED;
    DigestMissing = "digest_missing", UNAUTHENTICATED;
    DigestMalformed = "digest_malformed", UNAUTHENTICATED;
    DigestMismatch = "digest_mismatch", UNAUTHENTICATED;
    Forged = "forged", UNAUTHENTICATED;
    WrongAuthority = "wrong_authority", UNAUTHENTICATED;
    UnknownKey = "unknown_key", UNAUTHENTICATED;
    UnusableKey = "unusable_key", UNAUTHENTICATED;
    NonceMissing = "nonce_missing", UNAUTHENTICATED;
    Replayed = "replayed", UNAUTHENTICATED;
    KeysUnavailable = "keys_unavailable", UNAVAILABLE;

    // Errors of every method.
    InvalidParams = "invalid_params", INVALID_PARAMS;
    Internal = "internal", INTERNAL_ERROR;
    Unavailable = "unavailable", UNAVAILABLE;

    // Authorization, users and quotas.
    AdminOnly = "admin_only", FORBIDDEN;
    Suspended = "suspended", FORBIDDEN;
    SuspendAdmin = "suspend_admin", FORBIDDEN;
    InvalidUser = "invalid_user", INVALID_PARAMS;
    UserNotFound = "user_not_found", NOT_FOUND;
    InvalidReason = "invalid_reason", INVALID_PARAMS;
    InvalidUntil = "invalid_until", INVALID_PARAMS;
    QuotaAdmin = "quota_admin", FORBIDDEN;
    QuotaExceeded = "quota_exceeded", FORBIDDEN;
    RateLimited = "rate_limited", UNAVAILABLE;

    // Routes.
    InvalidId = "invalid_id", INVALID_PARAMS;
    HostMissing = "host_missing", INVALID_PARAMS;
    TwoHosts = "two_hosts", INVALID_PARAMS;
    InvalidHost = "invalid_host", INVALID_PARAMS;
    HostReserved = "host_reserved", INVALID_PARAMS;
    PassthroughNeedsFqdn = "passthrough_needs_fqdn", INVALID_PARAMS;
    BackendMissing = "backend_missing", INVALID_PARAMS;
    TooManyBackends = "too_many_backends", INVALID_PARAMS;
    DuplicateBackend = "duplicate_backend", INVALID_PARAMS;
    InvalidBackend = "invalid_backend", INVALID_PARAMS;
    InvalidHealth = "invalid_health", INVALID_PARAMS;
    PassthroughHealth = "passthrough_health", INVALID_PARAMS;
    PassthroughOption = "passthrough_option", INVALID_PARAMS;
    RouteNotFound = "route_not_found", NOT_FOUND;
    HostTaken = "host_taken", CONFLICT;
    HostNested = "host_nested", CONFLICT;
    IdTaken = "id_taken", CONFLICT;
    StaleVersion = "stale_version", CONFLICT;

    // Lists.
    InvalidLimit = "invalid_limit", INVALID_PARAMS;
    InvalidWait = "invalid_wait", INVALID_PARAMS;
    InvalidCursor = "invalid_cursor", INVALID_PARAMS;

    // Certificates.
    CertificateNotFound = "certificate_not_found", NOT_FOUND;
    NoInternalCa = "no_internal_ca", NOT_FOUND;

    // Nodes.
    InvalidNode = "invalid_node", INVALID_PARAMS;
    InvalidAddress = "invalid_address", INVALID_PARAMS;
    AddressMissing = "address_missing", INVALID_PARAMS;
    InvalidTtl = "invalid_ttl", INVALID_PARAMS;
    NodeNotFound = "node_not_found", NOT_FOUND;
    NodeTaken = "node_taken", CONFLICT;
    NoRemoteNodes = "no_remote_nodes", CONFLICT;
}

impl ErrorKind {
    /// The errors of any request, signed or not, before a method is called.
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

    /// The further errors of requests that are signed or must be signed.
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
