//! An example of each kind of error, for the API's document: what the table of errors makes of a real failure.

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

use super::unread::{not_json, too_large, too_slow};
use super::{
    Kind, ParamsError, invalid_params, malformed, no_method, of_our_own, refused, rejection, without_store,
};
use crate::api::auth::AuthError;
use crate::api::jsonrpc::Malformed;
use crate::domain::{NodeRefusal, Refusal, UserRefusal};
use crate::keys::{KeyServerError, UnusableKeyError};
use crate::store::StoreError;

/// Gives each kind an example: the error itself, or what is refused with it.
macro_rules! examples {
    ($($kind:ident => $example:expr;)*) => {
        impl Kind {
            fn provoked(self) -> Result<ErrorObject, Refusal> {
                match self { $(Self::$kind => $example,)* }
            }
        }
    };
}

examples! {
    // What is no call, or none of ours.
    ParseError => Ok(malformed(&Malformed::NotJson("EOF while parsing a string".to_owned())));
    InvalidRequest => Ok(malformed(&Malformed::NotACall("missing field `method`".to_owned())));
    EmptyBatch => Ok(malformed(&Malformed::EmptyBatch));
    MediaType => Ok(not_json().error);
    Timeout => Ok(too_slow().error);
    NoHost => away(AuthError::NoAuthority);
    BodyTooLarge => Ok(too_large(MAX_BODY).error);
    BatchTooLarge => Ok(malformed(&Malformed::LargeBatch(101)));
    MethodNotFound => Ok(no_method("routes.destroy"));
    PositionalParams => Ok(malformed(&Malformed::by_position()));

    // Who asks.
    Unsigned => away(SignatureError::Unsigned);
    SignatureMalformed => away(SignatureError::Malformed("signature-input"));
    SeveralSignatures => away(several());
    LabelMismatch => away(SignatureError::Label);
    SignatureParameter => away(SignatureError::Param("created"));
    NotCovered => away(SignatureError::Uncovered("@method".to_owned()));
    Component => away(SignatureError::from(ComponentError::Absent("x-trace".to_owned())));
    Stale => away(SignatureError::Old(TimeSource::Created, 3600));
    Expired => away(SignatureError::Expired(12));
    Algorithm => away(SignatureError::Algorithm);
    DigestMissing => away(SignatureError::DigestMissing);
    DigestMalformed => away(SignatureError::DigestMalformed);
    DigestMismatch => away(SignatureError::DigestMismatch);
    Forged => away(SignatureError::Forged);
    WrongAuthority => away(AuthError::Authority("other.example.com".to_owned()));
    UnknownKey => away(AuthError::UnknownKey(USER.parse()?));
    UnusableKey => away(AuthError::UnusableKey(USER.parse()?, UnusableKeyError::TooLarge));
    NonceMissing => away(AuthError::NonceNeeded);
    Replayed => away(AuthError::Replayed);
    KeysUnavailable => away(AuthError::KeysAway(USER.parse()?, Arc::new(KeyServerError::Late)));

    // What every method may come to.
    InvalidParams => Ok(params("hots", "unknown field `hots`", &json!({ "hots": 1 })));
    Internal => Ok(of_our_own());
    Unavailable => Ok(without_store(&StoreError::Interrupted));

    // Who may.
    AdminOnly => Err(Refusal::AdminOnly);
    Suspended => Err(suspended()?.into());
    SuspendAdmin => Err(UserRefusal::SuspendAdmin.into());
    InvalidUser => Err(KeyId::from_str("../user1").map_or_else(Refusal::from, unknown));
    UserNotFound => Err(unknown(USER.parse()?));
    InvalidReason => Err(UserRefusal::Reason(model::InvalidReasonError::Long).into());
    InvalidUntil => Err(UserRefusal::Until.into());
    QuotaAdmin => Err(UserRefusal::QuotaAdmin.into());
    QuotaExceeded => Err(UserRefusal::Routes { have: 10, most: 10 }.into());
    RateLimited => Err(UserRefusal::TooFast { most: 60, retry_after: 37 }.into());

    // Routes.
    InvalidId => Err(RouteId::from_str("myapp").map_or_else(Refusal::from, Refusal::NoRoute));
    HostMissing => Err(Refusal::NoHost);
    TwoHosts => Err(Refusal::TwoHosts);
    InvalidHost => host("app..example.org").and(Err(Refusal::NoHost));
    HostReserved => Err(Refusal::Reserved("subdomain", host("www.gateway.example.com")?));
    PassthroughNeedsFqdn => Err(Refusal::PassthroughSubdomain);
    BackendMissing => Err(InvalidBackendsError::None.into());
    TooManyBackends => Err(InvalidBackendsError::TooMany(33).into());
    DuplicateBackend => backends(&["[400::1]:80", "[400:0::1]:80"]);
    InvalidBackend => backends(&["[2001:db8::1]:80"]);
    InvalidHealth => Ok(params("health", &InvalidHealthCheckError::Interval.to_string(), &json!({ "health": { "interval": 0 } })));
    PassthroughHealth => Err(UnsuitableOptionError::HealthPath.into());
    PassthroughOption => Err(UnsuitableOptionError::TerminatedOnly("host_header").into());
    RouteNotFound => Err(Refusal::NoRoute(ROUTE.parse()?));
    HostTaken => Err(Refusal::HostTaken { host: host("myapp.gateway.example.com")?, own: None });
    IdTaken => Err(Refusal::IdTaken(ROUTE.parse()?));
    StaleVersion => Err(Refusal::Stale { expected: 1207, actual: 1211 });

    // Lists.
    InvalidLimit => Err(Refusal::Limit(MAX_PAGE));
    InvalidWait => Err(Refusal::Wait(LONGEST_WAIT));
    InvalidCursor => Err(Refusal::Cursor);

    // Certificates.
    CertificateNotFound => Err(Refusal::NoCertificate("www.example.org".to_owned()));
    NoInternalCa => Err(Refusal::NoRoot);

    // Nodes.
    InvalidNode => Err(name("edge 2").map_or_else(|refused| refused, NodeRefusal::Taken).into());
    InvalidAddress => Err(address("gateway").err().unwrap_or(NodeRefusal::NoAddress).into());
    AddressMissing => Err(NodeRefusal::NoAddress.into());
    InvalidTtl => Err(NodeRefusal::Ttl.into());
    NodeNotFound => Err(NodeRefusal::Unknown("edge9".to_owned()).into());
    NodeTaken => Err(NodeRefusal::Taken(name("edge2")?).into());
    NoRemoteNodes => Err(NodeRefusal::NoRemoteNodes.into());
}

const USER: &str = "user1.pub";
const ROUTE: &str = "019cade2-11c0-7d6f-8a3b-5c2d9e4f1a60";

fn params(field: &str, message: &str, given: &Value) -> ErrorObject {
    let given = given.as_object().cloned().unwrap_or_default();
    invalid_params(ParamsError::new(Some(field.to_owned()), message.to_owned(), &given))
}

fn away(failure: impl Into<AuthError>) -> Result<ErrorObject, Refusal> {
    Ok(rejection(&failure.into()).error)
}

fn several() -> AuthError {
    AuthError::Several { count: 2, label: "sig1".to_owned(), best: Box::new(SignatureError::Forged.into()) }
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
    Err(Backends::parse(texts, &Prefixes::default()).err().unwrap_or(InvalidBackendsError::None).into())
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
