//! An example of each kind of error for the OpenRPC document, made from a real failure.

use std::str::FromStr;
use std::sync::Arc;

use serde_json::{Value, json};
use time::OffsetDateTime;
use webgateway_proto::api::jsonrpc::ErrorObject;
use webgateway_proto::api::{LONGEST_WAIT, MAX_BODY, MAX_PAGE};
use webgateway_proto::httpsig::{ComponentError, SignatureError, TimeSource};
use webgateway_proto::model::{self, RemoteAddress, RouteId};
use webgateway_proto::model::{
    Backends, Host, InvalidBackendsError, InvalidHealthCheckError, KeyId, NodeName, Prefixes, Suspension,
    UnsuitableOptionError,
};

use super::authentication::auth_error;
use super::request_body::{not_json, too_large, too_slow};
use super::{
    ErrorKind, ParamsError, domain_error, envelope_error, internal_error, invalid_params, method_not_found,
    store_error,
};
use crate::api::auth::AuthError;
use crate::api::jsonrpc::EnvelopeError;
use crate::domain::{DomainError, NestedHostError, NodeError, UserError};
use crate::keys::{KeyServerError, UnusableKeyError};
use crate::store::StoreError;

/// Declares the example of each kind: the error itself, or the refusal that is mapped to it.
macro_rules! examples {
    ($($kind:ident => $example:expr;)*) => {
        impl ErrorKind {
            fn try_example(self) -> Result<ErrorObject, DomainError> {
                match self { $(Self::$kind => $example,)* }
            }
        }
    };
}

examples! {
    // Invalid requests.
    ParseError => Ok(envelope_error(&EnvelopeError::NotJson("EOF while parsing a string".to_owned())));
    InvalidRequest => Ok(envelope_error(&EnvelopeError::NotACall("missing field `method`".to_owned())));
    EmptyBatch => Ok(envelope_error(&EnvelopeError::EmptyBatch));
    MediaType => Ok(not_json().error);
    Timeout => Ok(too_slow().error);
    NoHost => auth_example(AuthError::InvalidHost);
    BodyTooLarge => Ok(too_large(MAX_BODY).error);
    BatchTooLarge => Ok(envelope_error(&EnvelopeError::LargeBatch(101)));
    MethodNotFound => Ok(method_not_found("routes.destroy"));
    PositionalParams => Ok(envelope_error(&EnvelopeError::example_positional()));

    // Authentication.
    Unsigned => auth_example(SignatureError::Unsigned);
    SignatureMalformed => auth_example(SignatureError::Malformed("signature-input"));
    SeveralSignatures => auth_example(several());
    LabelMismatch => auth_example(SignatureError::Label);
    SignatureParameter => auth_example(SignatureError::Param("created"));
    NotCovered => auth_example(SignatureError::Uncovered("@method".to_owned()));
    Component => auth_example(SignatureError::from(ComponentError::Absent("x-trace".to_owned())));
    Stale => auth_example(SignatureError::Old(TimeSource::Created, 3600));
    Expired => auth_example(SignatureError::Expired(12));
    Algorithm => auth_example(SignatureError::Algorithm);
    DigestMissing => auth_example(SignatureError::DigestMissing);
    DigestMalformed => auth_example(SignatureError::DigestMalformed);
    DigestMismatch => auth_example(SignatureError::DigestMismatch);
    Forged => auth_example(SignatureError::Forged);
    WrongAuthority => auth_example(AuthError::WrongAuthority("other.example.com".to_owned()));
    UnknownKey => auth_example(AuthError::UnknownKey(USER.parse()?));
    UnusableKey => auth_example(AuthError::UnusableKey(USER.parse()?, UnusableKeyError::TooLarge));
    NonceMissing => auth_example(AuthError::MissingNonce);
    Replayed => auth_example(AuthError::Replayed);
    KeysUnavailable => auth_example(AuthError::KeyServerUnavailable(USER.parse()?, Arc::new(KeyServerError::Timeout)));

    // Errors of every method.
    InvalidParams => Ok(params("hots", "unknown field `hots`", &json!({ "hots": 1 })));
    Internal => Ok(internal_error());
    Unavailable => Ok(store_error(&StoreError::Interrupted));

    // Authorization, users and quotas.
    AdminOnly => Err(DomainError::AdminOnly);
    Suspended => Err(suspended()?.into());
    SuspendAdmin => Err(UserError::SuspendAdmin.into());
    InvalidUser => Err(KeyId::from_str("../user1").map_or_else(DomainError::from, unknown));
    UserNotFound => Err(unknown(USER.parse()?));
    InvalidReason => Err(UserError::Reason(model::InvalidReasonError::Long).into());
    InvalidUntil => Err(UserError::Until.into());
    QuotaAdmin => Err(UserError::QuotaAdmin.into());
    QuotaExceeded => Err(UserError::Routes { have: 10, most: 10 }.into());
    RateLimited => Err(UserError::RateLimited { most: 60, retry_after: 37 }.into());

    // Routes.
    InvalidId => Err(RouteId::from_str("myapp").map_or_else(DomainError::from, DomainError::NoRoute));
    HostMissing => Err(DomainError::NoHost);
    TwoHosts => Err(DomainError::TwoHosts);
    InvalidHost => host("app..example.org").and(Err(DomainError::NoHost));
    HostReserved => Err(DomainError::Reserved("subdomain", host("www.gateway.example.com")?));
    PassthroughNeedsFqdn => Err(DomainError::PassthroughSubdomain);
    BackendMissing => Err(InvalidBackendsError::None.into());
    TooManyBackends => Err(InvalidBackendsError::TooMany(33).into());
    DuplicateBackend => backends(&["[400::1]:80", "[400:0::1]:80"]);
    InvalidBackend => backends(&["[2001:db8::1]:80"]);
    InvalidHealth => Ok(params("health", &InvalidHealthCheckError::Interval.to_string(), &json!({ "health": { "interval": 0 } })));
    PassthroughHealth => Err(UnsuitableOptionError::HealthPath.into());
    PassthroughOption => Err(UnsuitableOptionError::TerminatedOnly("host_header").into());
    RouteNotFound => Err(DomainError::NoRoute(ROUTE.parse()?));
    HostTaken => Err(DomainError::HostTaken { host: host("myapp.gateway.example.com")?, own: None });
    HostNested => Err(nested()?);
    IdTaken => Err(DomainError::IdTaken(ROUTE.parse()?));
    StaleVersion => Err(DomainError::Stale { expected: 1207, actual: 1211 });

    // Lists.
    InvalidLimit => Err(DomainError::Limit(MAX_PAGE));
    InvalidWait => Err(DomainError::Wait(LONGEST_WAIT));
    InvalidCursor => Err(DomainError::Cursor);

    // Certificates.
    CertificateNotFound => Err(DomainError::NoCertificate("www.example.org".to_owned()));
    NoInternalCa => Err(DomainError::NoRoot);

    // Nodes.
    InvalidNode => Err(name("edge 2").map_or_else(|refused| refused, NodeError::Taken).into());
    InvalidAddress => Err(address("gateway").err().unwrap_or(NodeError::NoAddress).into());
    AddressMissing => Err(NodeError::NoAddress.into());
    InvalidTtl => Err(NodeError::Ttl.into());
    NodeNotFound => Err(NodeError::Unknown("edge9".to_owned()).into());
    NodeTaken => Err(NodeError::Taken(name("edge2")?).into());
    NoRemoteNodes => Err(NodeError::NoRemoteNodes.into());
}

const USER: &str = "user1.pub";
const ROUTE: &str = "019cade2-11c0-7d6f-8a3b-5c2d9e4f1a60";

fn nested() -> Result<DomainError, DomainError> {
    Ok(DomainError::Nested(Box::new(NestedHostError {
        host: host("api.myapp.gateway.example.com")?,
        owner: USER.parse()?,
        neighbour: host("myapp.gateway.example.com")?,
        proof: None,
    })))
}

fn params(field: &str, message: &str, given: &Value) -> ErrorObject {
    let given = given.as_object().cloned().unwrap_or_default();
    invalid_params(ParamsError::new(Some(field.to_owned()), message.to_owned(), &given))
}

fn auth_example(failure: impl Into<AuthError>) -> Result<ErrorObject, DomainError> {
    Ok(auth_error(&failure.into()).error)
}

fn several() -> AuthError {
    AuthError::SeveralSignatures {
        count: 2,
        label: "sig1".to_owned(),
        best: Box::new(SignatureError::Forged.into()),
    }
}

fn unknown(user: KeyId) -> DomainError {
    UserError::Unknown(user).into()
}

fn suspended() -> Result<UserError, DomainError> {
    let reason = Some("unpaid invoice".parse().map_err(UserError::Reason)?);
    let since = OffsetDateTime::UNIX_EPOCH;
    let suspension = Box::new(Suspension { reason, since, until: None });
    Ok(UserError::Suspended { user: USER.parse()?, suspension })
}

fn host(text: &str) -> Result<Host, DomainError> {
    Host::parse(text).map_err(|error| DomainError::InvalidHost("fqdn", error))
}

fn backends(texts: &[&str]) -> Result<ErrorObject, DomainError> {
    Err(Backends::parse(texts, &Prefixes::default()).err().unwrap_or(InvalidBackendsError::None).into())
}

fn name(text: &str) -> Result<NodeName, NodeError> {
    text.parse().map_err(NodeError::Name)
}

fn address(text: &str) -> Result<RemoteAddress, NodeError> {
    text.parse().map_err(NodeError::Address)
}

impl ErrorKind {
    /// Returns an error of this kind, as a client gets it.
    pub(in crate::api) fn example(self) -> ErrorObject {
        self.try_example().unwrap_or_else(|refusal| domain_error(&refusal))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_an_example_of_its_own() {
        let mut names = BTreeSet::new();
        for kind in ErrorKind::ALL {
            let error = kind.example();
            let data = error.data.unwrap();
            assert_eq!((error.code, &*data.kind), (kind.code(), kind.as_str()));
            assert!(!error.message.is_empty() && names.insert(kind.as_str()), "{kind:?}");
        }
    }
}
