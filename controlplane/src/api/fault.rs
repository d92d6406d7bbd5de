//! The one table from what went wrong to what the client is told. Internal detail stays here.

mod examples;
mod kind;
pub(super) mod unread;

use std::borrow::Cow;

use http::StatusCode;
use serde_json::{Map, Value};
use tracing::{error, warn};
use webgateway_proto::api::jsonrpc::{ErrorData, ErrorObject};
use webgateway_proto::httpsig::SignatureError;
use webgateway_proto::model::{HealthCheck, InvalidBackendsError, UnsuitableOptionError};

pub(super) use self::kind::Kind;
use super::auth::AuthError;
use super::jsonrpc::Malformed;
use crate::domain::{NodeRefusal, Refusal, UserRefusal};
use crate::store::StoreError;

/// When to look again whether there is a place to wait, in seconds.
const CROWDED: u64 = 5;

type Text = Cow<'static, str>;

/// An error without its message: kind (which has its code), field, hint.
struct Row {
    kind: Kind,
    field: Option<Text>,
    hint: Option<Text>,
    retry_after: Option<u64>,
}

impl Row {
    const fn new(kind: Kind) -> Self {
        Self { kind, field: None, hint: None, retry_after: None }
    }

    fn field(mut self, field: &'static str) -> Self {
        self.field = Some(field.into());
        self
    }

    fn hint(mut self, hint: impl Into<Text>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    fn say(self, message: impl Into<Text>) -> ErrorObject {
        let data = ErrorData {
            kind: self.kind.word().into(),
            field: self.field,
            hint: self.hint,
            retry_after: self.retry_after,
            more: serde_json::Map::new(),
        };
        ErrorObject { code: self.kind.code(), message: message.into(), data: Some(data) }
    }
}

/// Returns the error for a refusal of the rules.
pub(super) fn refused(refusal: &Refusal) -> ErrorObject {
    let row = match refusal {
        Refusal::NoHost => Row::new(Kind::HostMissing).field("fqdn"),
        Refusal::TwoHosts => Row::new(Kind::TwoHosts).field("subdomain"),
        Refusal::InvalidHost(field, _) => Row::new(Kind::InvalidHost).field(field),
        Refusal::NotALabel(_) => Row::new(Kind::InvalidHost).field("subdomain"),
        Refusal::BaseDomain(_) => Row::new(Kind::HostReserved)
            .field("fqdn")
            .hint("choose a name below it with `subdomain`, or a domain of your own"),
        Refusal::AcmeChallenge(field, _) => Row::new(Kind::HostReserved).field(field),
        Refusal::Reserved(field, _) => Row::new(Kind::HostReserved).field(field).hint("choose another name"),
        Refusal::PassthroughSubdomain => Row::new(Kind::PassthroughNeedsFqdn).field("mode"),
        Refusal::Backends(invalid) => backends(invalid),
        Refusal::OwnListener(_) => Row::new(Kind::InvalidBackend)
            .field("backends")
            .hint("name the address and port where the service itself listens"),
        Refusal::UnsuitableOption(unsuitable) => unsuitable_option(*unsuitable),
        Refusal::RouteId(_) => Row::new(Kind::InvalidId).field("id"),
        Refusal::KeyId(_) => Row::new(Kind::InvalidUser).field("user"),
        Refusal::HostTaken { own: None, .. } => {
            Row::new(Kind::HostTaken).field("host").hint("choose another host")
        }
        Refusal::HostTaken { own: Some(_), .. } => {
            Row::new(Kind::HostTaken).field("host").hint("update that route instead")
        }
        Refusal::IdTaken(_) => Row::new(Kind::IdTaken).field("id").hint("make a new id"),
        Refusal::NoRoute(_) => {
            Row::new(Kind::RouteNotFound).field("id").hint("`routes.list` shows your routes")
        }
        Refusal::Stale { .. } => Row::new(Kind::StaleVersion)
            .field("expected_version")
            .hint("read the route again and decide anew"),
        Refusal::NoCertificate(_) => {
            Row::new(Kind::CertificateNotFound).field("id").hint("`certificates.list` shows those there are")
        }
        Refusal::NoRoot => Row::new(Kind::NoInternalCa)
            .hint("a public CA's root is in every trust store; the operator's own CA gives its root itself"),
        Refusal::AdminOnly => Row::new(Kind::AdminOnly),
        Refusal::User(refusal) => user(refusal),
        Refusal::Node(refusal) => node(refusal),
        Refusal::Limit(_) => Row::new(Kind::InvalidLimit).field("limit"),
        Refusal::Cursor => Row::new(Kind::InvalidCursor)
            .field("cursor")
            .hint("give the `next_cursor` of the page before as it is, or leave it out for the first page"),
        Refusal::Wait(_) => Row::new(Kind::InvalidWait).field("wait"),
        Refusal::Crowded => Row::new(Kind::RateLimited)
            .field("wait")
            .hint(format!("go on in {CROWDED} s, or without `wait`"))
            .retry_after(CROWDED),
        Refusal::Store(failure) => return store(failure),
    };
    row.say(refusal.to_string())
}

/// The errors for refusals about users.
fn user(refusal: &UserRefusal) -> Row {
    let more = "delete what you do not need, or ask the operator for more";
    match refusal {
        UserRefusal::Suspended { suspension, .. } if suspension.until.is_some() => {
            Row::new(Kind::Suspended).hint("it ends by itself then; the operator can end it before")
        }
        UserRefusal::Suspended { .. } => Row::new(Kind::Suspended).hint("ask the operator"),
        UserRefusal::Unknown(_) => Row::new(Kind::UserNotFound)
            .field("user")
            .hint("users are named by their key, such as `user1.pub`"),
        UserRefusal::SuspendAdmin => Row::new(Kind::SuspendAdmin).field("user"),
        UserRefusal::Reason(_) => Row::new(Kind::InvalidReason).field("reason"),
        UserRefusal::Until | UserRefusal::UntilOver(_) => Row::new(Kind::InvalidUntil).field("until"),
        UserRefusal::QuotaAdmin => Row::new(Kind::QuotaAdmin).field("user"),
        UserRefusal::Routes { .. } => Row::new(Kind::QuotaExceeded).field("routes").hint(more),
        UserRefusal::Backends { .. } => Row::new(Kind::QuotaExceeded).field("backends").hint(more),
        UserRefusal::TooFast { most: 0, .. } => {
            Row::new(Kind::QuotaExceeded).field("mutations_per_minute").hint("ask the operator")
        }
        UserRefusal::TooFast { retry_after, .. } => {
            let row = Row::new(Kind::RateLimited).field("mutations_per_minute");
            row.hint(format!("go on in {retry_after} s")).retry_after(*retry_after)
        }
    }
}

/// The errors for refusals about nodes.
fn node(refusal: &NodeRefusal) -> Row {
    match refusal {
        NodeRefusal::Name(_) => Row::new(Kind::InvalidNode).field("node"),
        NodeRefusal::Address(_) => Row::new(Kind::InvalidAddress).field("address"),
        NodeRefusal::NoRemoteNodes => Row::new(Kind::NoRemoteNodes).hint(
            "the operator adds one, such as `listen = [\"unix:/run/webgateway/feed.sock\", \"[::]:7443\"]`",
        ),
        NodeRefusal::NoAddress => Row::new(Kind::AddressMissing).field("address"),
        NodeRefusal::Ttl => Row::new(Kind::InvalidTtl).field("ttl"),
        NodeRefusal::Taken(_) => Row::new(Kind::NodeTaken)
            .field("node")
            .hint("choose another name, or remove that node with `nodes.remove`"),
        NodeRefusal::Unknown(_) => {
            Row::new(Kind::NodeNotFound).field("node").hint("`nodes.list` shows the nodes")
        }
        NodeRefusal::NoMember(_) => Row::new(Kind::NodeNotFound)
            .field("node")
            .hint("a node of the controlplane's own machine is stopped there"),
        NodeRefusal::NoRandomness => {
            error!(failure = %refusal, "a fault of our own");
            Row::new(Kind::Internal)
        }
    }
}

fn backends(invalid: &InvalidBackendsError) -> Row {
    let kind = match invalid {
        InvalidBackendsError::None => Kind::BackendMissing,
        InvalidBackendsError::TooMany(_) => Kind::TooManyBackends,
        InvalidBackendsError::Duplicate(_) => Kind::DuplicateBackend,
        InvalidBackendsError::Backend(_) => Kind::InvalidBackend,
    };
    Row::new(kind).field("backends")
}

fn unsuitable_option(unsuitable: UnsuitableOptionError) -> Row {
    let row = match unsuitable {
        UnsuitableOptionError::HealthPath => Row::new(Kind::PassthroughHealth).hint("leave `path` out"),
        UnsuitableOptionError::TerminatedOnly(_) => {
            Row::new(Kind::PassthroughOption).hint("leave it out, or terminate the route")
        }
    };
    row.field(unsuitable.option())
}

/// The error for a failure of the store, which is logged.
fn store(failure: &StoreError) -> ErrorObject {
    error!(%failure, "the store failed");
    without_store(failure)
}

fn without_store(failure: &StoreError) -> ErrorObject {
    let again = "nothing was changed; try again, and tell the operator if it stays so";
    match failure {
        StoreError::Replayed => replayed().say(failure.to_string()),
        StoreError::Connection(_) | StoreError::Interrupted => {
            Row::new(Kind::Unavailable).hint(again).say("the store is not available now")
        }
        StoreError::Database(_) | StoreError::NotCommitted(_) | StoreError::Damaged { .. } => {
            Row::new(Kind::Internal).hint(again).say("the store failed")
        }
    }
}

/// Returns the error for a body, or a part of it, that is no call.
pub(super) fn malformed(malformed: &Malformed) -> ErrorObject {
    let row = match malformed {
        Malformed::NotJson(_) => Row::new(Kind::ParseError),
        Malformed::EmptyBatch => Row::new(Kind::EmptyBatch),
        Malformed::LargeBatch(_) => Row::new(Kind::BatchTooLarge).hint("send several batches"),
        Malformed::NotACall(_) | Malformed::ScalarParams => Row::new(Kind::InvalidRequest),
        Malformed::Id => Row::new(Kind::InvalidRequest).field("id"),
        Malformed::Positional(_) => Row::new(Kind::PositionalParams),
    };
    row.say(malformed.to_string())
}

/// A method that nobody has.
pub(super) fn no_method(name: &str) -> ErrorObject {
    let shown: String = name.chars().take(100).collect();
    Row::new(Kind::MethodNotFound)
        .hint("`rpc.discover` shows the methods")
        .say(format!("there is no method `{shown}`"))
}

/// Params that do not fit a method.
#[derive(Debug)]
pub(super) struct ParamsError {
    /// The kind of the fault.
    pub(super) kind: Kind,
    /// The one at fault, if that is known.
    pub(super) field: Option<String>,
    /// The fault, in words.
    pub(super) message: String,
}

impl ParamsError {
    /// Makes the error of `given`, of which `field` is at fault. Checks of backends that are well-formed and cannot be
    /// made have a kind of their own.
    pub(super) fn new(field: Option<String>, message: String, given: &Map<String, Value>) -> Self {
        let value = field.as_deref().and_then(|field| given.get(field));
        let kind = match field.as_deref() {
            Some("health") if value.is_some_and(HealthCheck::is_well_formed) => Kind::InvalidHealth,
            Some(_) | None => Kind::InvalidParams,
        };
        Self { kind, field, message }
    }
}

/// Params that do not fit.
pub(super) fn invalid_params(error: ParamsError) -> ErrorObject {
    let mut row = Row::new(error.kind);
    row.field = error.field.map(Cow::Owned);
    row.say(error.message)
}

/// A result that cannot be written, or another fault of ours.
pub(super) fn internal(what: &'static str, reason: &dyn std::fmt::Display) -> ErrorObject {
    error!(what, %reason, "a fault of our own");
    of_our_own()
}

fn of_our_own() -> ErrorObject {
    Row::new(Kind::Internal).say("something went wrong here")
}

/// An error that is about a request as a whole, and has an HTTP status of its own.
pub(super) struct HttpError {
    /// The status.
    pub(super) status: StatusCode,
    /// The error in the body.
    pub(super) error: ErrorObject,
}

/// Returns the answer to a request that failed authentication. The operator is told of what is theirs.
pub(super) fn unauthenticated(failure: &AuthError) -> HttpError {
    warn_operator(failure);
    rejection(failure)
}

fn warn_operator(failure: &AuthError) {
    match failure {
        AuthError::UnusableKey(id, reason) => warn!(key = %id, %reason, "a public key cannot be used"),
        AuthError::Store(failure) => error!(%failure, "the store failed"),
        AuthError::Several { best, .. } => warn_operator(best),
        AuthError::Signature(_)
        | AuthError::NoAuthority
        | AuthError::Authority(_)
        | AuthError::UnknownKey(_)
        | AuthError::KeysAway(..)
        | AuthError::NonceNeeded
        | AuthError::Replayed => {}
    }
}

fn rejection(failure: &AuthError) -> HttpError {
    let row = match failure {
        AuthError::Signature(failure) => signature(failure),
        AuthError::NoAuthority => {
            let row = Row::new(Kind::NoHost).field("host");
            return HttpError { status: StatusCode::BAD_REQUEST, error: row.say(failure.to_string()) };
        }
        AuthError::Authority(_) => Row::new(Kind::WrongAuthority).field("@authority").hint(
            "sign the URL you send to: the base domain over https, or the address of the API with its port",
        ),
        AuthError::UnknownKey(_) => Row::new(Kind::UnknownKey)
            .field("keyid")
            .hint("ask the operator to add the public key under this name"),
        AuthError::UnusableKey(..) => {
            Row::new(Kind::UnusableKey).field("keyid").hint("ask the operator to look at the public key")
        }
        AuthError::KeysAway(..) => {
            let row = Row::new(Kind::KeysUnavailable).field("keyid");
            let row = row.hint("nothing was changed; try again, and tell the operator if it stays so");
            return HttpError {
                status: StatusCode::SERVICE_UNAVAILABLE,
                error: row.say(failure.to_string()),
            };
        }
        AuthError::Several { best, .. } => {
            let HttpError { status, error } = rejection(best);
            if status != StatusCode::UNAUTHORIZED {
                return HttpError { status, error };
            }
            let (field, hint) = error.data.map_or((None, None), |data| (data.field, data.hint));
            Row { field, hint, ..Row::new(Kind::SeveralSignatures) }
        }
        AuthError::NonceNeeded => Row::new(Kind::NonceMissing).field("nonce"),
        AuthError::Replayed => replayed(),
        AuthError::Store(failure) => {
            return HttpError { status: StatusCode::SERVICE_UNAVAILABLE, error: without_store(failure) };
        }
    };
    HttpError { status: StatusCode::UNAUTHORIZED, error: row.say(failure.to_string()) }
}

fn replayed() -> Row {
    let hint = "sign every request anew; two equal ones without a nonce need dates that differ";
    Row::new(Kind::Replayed).field("nonce").hint(hint)
}

fn signature(failure: &SignatureError) -> Row {
    match failure {
        SignatureError::Unsigned => {
            Row::new(Kind::Unsigned).hint("sign it as RFC 9421 says; gwctl does with --id and --key")
        }
        SignatureError::Malformed(field) => Row::new(Kind::SignatureMalformed).field(field),
        SignatureError::Repeated(_) | SignatureError::TooMany(_) => {
            Row::new(Kind::SeveralSignatures).field("signature")
        }
        SignatureError::Label => Row::new(Kind::LabelMismatch).field("signature"),
        SignatureError::Param(field) => Row::new(Kind::SignatureParameter).field(field),
        SignatureError::Undated => Row::new(Kind::SignatureParameter).field("created"),
        SignatureError::Uncovered(component) => {
            Row { field: Some(component.clone().into()), ..Row::new(Kind::NotCovered) }
        }
        SignatureError::Component(_) => Row::new(Kind::Component).field("signature-input"),
        SignatureError::Old(source, _) | SignatureError::Future(source, _) => {
            Row::new(Kind::Stale).field(source.as_str())
        }
        SignatureError::Expired(_) => Row::new(Kind::Expired).field("expires"),
        SignatureError::Algorithm => Row::new(Kind::Algorithm).field("alg"),
        SignatureError::DigestMissing => Row::new(Kind::DigestMissing).field("content-digest"),
        SignatureError::DigestMalformed => Row::new(Kind::DigestMalformed).field("content-digest"),
        SignatureError::DigestMismatch => Row::new(Kind::DigestMismatch).field("content-digest"),
        SignatureError::Forged => {
            Row::new(Kind::Forged).field("signature").hint("is it the private half of that key?")
        }
    }
}
