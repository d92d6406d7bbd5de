//! Maps every failure to the error object that the client gets. Internal details are logged and not sent.

pub(super) mod authentication;
mod examples;
mod kind;
pub(super) mod request_body;

use std::borrow::Cow;

use http::StatusCode;
use serde_json::{Map, Value};
use tracing::error;
use webgateway_proto::api::jsonrpc::{ErrorData, ErrorObject};
use webgateway_proto::model::{
    HealthCheck, InvalidBackendError, InvalidBackendsError, UnsuitableOptionError,
};

pub(super) use self::kind::ErrorKind;
use super::jsonrpc::EnvelopeError;
use crate::domain::{DomainError, NestedHostError, NodeError, UserError};
use crate::store::StoreError;

/// The hint for temporary errors.
const TRY_AGAIN: &str = "nothing was changed; try again, and tell the operator if the error persists";
/// The time after which a client that may not wait now should try again, in seconds.
const WAIT_RETRY_AFTER: u64 = 5;

/// A text of an error, mostly a literal.
type ErrorText = Cow<'static, str>;

/// A builder of error objects.
struct ErrorBuilder {
    kind: ErrorKind,
    field: Option<ErrorText>,
    hint: Option<ErrorText>,
    retry_after: Option<u64>,
}

impl ErrorBuilder {
    const fn new(kind: ErrorKind) -> Self {
        Self { kind, field: None, hint: None, retry_after: None }
    }

    fn field(mut self, field: &'static str) -> Self {
        self.field = Some(field.into());
        self
    }

    fn hint(mut self, hint: impl Into<ErrorText>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    fn build(self, message: impl Into<ErrorText>) -> ErrorObject {
        let data = ErrorData {
            kind: self.kind.as_str().into(),
            field: self.field,
            hint: self.hint,
            retry_after: self.retry_after,
            more: serde_json::Map::new(),
        };
        ErrorObject { code: self.kind.code(), message: message.into(), data: Some(data) }
    }
}

/// Returns the error for a call that the domain refused.
#[expect(clippy::too_many_lines, reason = "it is one table, which must be exhaustive")]
pub(super) fn domain_error(refusal: &DomainError) -> ErrorObject {
    let builder = match refusal {
        DomainError::NoHost => ErrorBuilder::new(ErrorKind::HostMissing).field("fqdn"),
        DomainError::TwoHosts => ErrorBuilder::new(ErrorKind::TwoHosts).field("subdomain"),
        DomainError::InvalidHost(field, _) => ErrorBuilder::new(ErrorKind::InvalidHost).field(field),
        DomainError::NotALabel(_) => ErrorBuilder::new(ErrorKind::InvalidHost).field("subdomain"),
        DomainError::BaseDomain(_) => ErrorBuilder::new(ErrorKind::HostReserved)
            .field("fqdn")
            .hint("set `subdomain` for a name below it, or use a domain of your own"),
        DomainError::AcmeChallenge(field, _) => ErrorBuilder::new(ErrorKind::HostReserved).field(field),
        DomainError::Reserved(field, _) => ErrorBuilder::new(ErrorKind::HostReserved)
            .field(field)
            .hint("choose another name, or ask the operator"),
        DomainError::Nested(nested) => {
            ErrorBuilder::new(ErrorKind::HostNested).field("host").hint(nested_hint(nested))
        }
        DomainError::PassthroughSubdomain => ErrorBuilder::new(ErrorKind::PassthroughNeedsFqdn).field("mode"),
        DomainError::Backends(invalid) => backends_error(invalid),
        DomainError::OwnListener(_) => ErrorBuilder::new(ErrorKind::InvalidBackend)
            .field("backends")
            .hint("give the address and port on which the service itself listens"),
        DomainError::OptionBackend(option, _) => ErrorBuilder::new(ErrorKind::InvalidBackend).field(option),
        DomainError::OptionListener(option, _) => ErrorBuilder::new(ErrorKind::InvalidBackend)
            .field(option)
            .hint("give the address and port on which the service itself listens"),
        DomainError::UnsuitableOption(unsuitable) => option_error(*unsuitable),
        DomainError::RouteLimit(exceeded) => ErrorBuilder::new(ErrorKind::InvalidParams)
            .field(exceeded.field)
            .hint("choose a smaller value, or ask the operator to raise `route_limits`"),
        DomainError::RouteId(_) => ErrorBuilder::new(ErrorKind::InvalidId).field("id"),
        DomainError::KeyId(_) => ErrorBuilder::new(ErrorKind::InvalidUser).field("user"),
        DomainError::HostTaken { own: None, .. } => {
            ErrorBuilder::new(ErrorKind::HostTaken).field("host").hint("choose another host")
        }
        DomainError::HostTaken { own: Some(_), .. } => {
            ErrorBuilder::new(ErrorKind::HostTaken).field("host").hint("update that route instead")
        }
        DomainError::IdTaken(_) => ErrorBuilder::new(ErrorKind::IdTaken).field("id").hint("make a new id"),
        DomainError::NoRoute(_) => {
            ErrorBuilder::new(ErrorKind::RouteNotFound).field("id").hint("`routes.list` lists your routes")
        }
        DomainError::NoRouteAt(_) => {
            ErrorBuilder::new(ErrorKind::RouteNotFound).field("host").hint("`routes.list` lists your routes")
        }
        DomainError::Hours(_) => ErrorBuilder::new(ErrorKind::InvalidParams).field("hours"),
        DomainError::Stale { .. } => ErrorBuilder::new(ErrorKind::StaleVersion)
            .field("expected_version")
            .hint("get the route again and repeat the change with its new version"),
        DomainError::NoCertificate(_) => ErrorBuilder::new(ErrorKind::CertificateNotFound)
            .field("id")
            .hint("`certificates.list` lists your certificates"),
        DomainError::NoRoot => ErrorBuilder::new(ErrorKind::NoInternalCa).hint(
            "the root of a public CA is in every trust store; ask the operator for the root of another CA",
        ),
        DomainError::AdminOnly => ErrorBuilder::new(ErrorKind::AdminOnly),
        DomainError::User(refusal) => user_error(refusal),
        DomainError::Node(refusal) => node_error(refusal),
        DomainError::Limit(_) => ErrorBuilder::new(ErrorKind::InvalidLimit).field("limit"),
        DomainError::Cursor => ErrorBuilder::new(ErrorKind::InvalidCursor).field("cursor").hint(
            "use the `next_cursor` of the previous page unchanged, or leave `cursor` out for the first page",
        ),
        DomainError::Wait(_) => ErrorBuilder::new(ErrorKind::InvalidWait).field("wait"),
        DomainError::WaitForLines(_) => ErrorBuilder::new(ErrorKind::InvalidWait).field("wait"),
        DomainError::Crowded => ErrorBuilder::new(ErrorKind::RateLimited)
            .field("wait")
            .hint(format!("try again in {WAIT_RETRY_AFTER} s, or now without `wait`"))
            .retry_after(WAIT_RETRY_AFTER),
        DomainError::Store(error) => return log_store_error(error),
    };
    builder.build(refusal.to_string())
}

/// Returns what the owner of a host can do who is refused because of a host above or below it.
fn nested_hint(nested: &NestedHostError) -> String {
    let NestedHostError { host, owner, neighbour, proof } = nested;
    let is_below = host.is_below(neighbour);
    let allow = format!("the owner of {neighbour} can add `{owner}` to its `subdomain_owners`");
    let proof = proof.as_ref().map(|record| {
        format!("create the DNS record `{}. IN {} {}` and try again", record.name, record.kind, record.value)
    });
    match (is_below, proof) {
        (true, Some(proof)) => format!("{allow}; or {proof}"),
        (true, None) => format!("{allow}; or choose another name"),
        (false, Some(proof)) => proof,
        (false, None) => "choose another name, or ask the operator".to_owned(),
    }
}

/// Starts the error for a refusal about users; the caller adds the message.
fn user_error(refusal: &UserError) -> ErrorBuilder {
    let more = "delete what you do not need, or ask the operator for a higher quota";
    match refusal {
        UserError::Suspended { suspension, .. } if suspension.until.is_some() => {
            ErrorBuilder::new(ErrorKind::Suspended)
                .hint("the suspension ends at that time; the operator can lift it earlier")
        }
        UserError::Suspended { .. } => {
            ErrorBuilder::new(ErrorKind::Suspended).hint("ask the operator to lift the suspension")
        }
        UserError::Unknown(_) => ErrorBuilder::new(ErrorKind::UserNotFound)
            .field("user")
            .hint("a user has the name of their key, such as `user1.pub`; `admin.users` lists them"),
        UserError::SuspendAdmin => ErrorBuilder::new(ErrorKind::SuspendAdmin).field("user"),
        UserError::Reason(_) => ErrorBuilder::new(ErrorKind::InvalidReason).field("reason"),
        UserError::Until | UserError::UntilOver(_) => {
            ErrorBuilder::new(ErrorKind::InvalidUntil).field("until")
        }
        UserError::QuotaAdmin => ErrorBuilder::new(ErrorKind::QuotaAdmin).field("user"),
        UserError::Routes { .. } => ErrorBuilder::new(ErrorKind::QuotaExceeded).field("routes").hint(more),
        UserError::Claims { .. } => ErrorBuilder::new(ErrorKind::QuotaExceeded).field("claims").hint(
            "prove them with the DNS records that `routes.get` returns, or delete what you do not need",
        ),
        UserError::Backends { .. } => {
            ErrorBuilder::new(ErrorKind::QuotaExceeded).field("backends").hint(more)
        }
        UserError::RateLimited { most: 0, .. } => ErrorBuilder::new(ErrorKind::QuotaExceeded)
            .field("mutations_per_minute")
            .hint("ask the operator for a quota"),
        UserError::RateLimited { retry_after, .. } => {
            let builder = ErrorBuilder::new(ErrorKind::RateLimited).field("mutations_per_minute");
            builder.hint(format!("try again in {retry_after} s")).retry_after(*retry_after)
        }
    }
}

/// Starts the error for a refusal about nodes; the caller adds the message.
fn node_error(refusal: &NodeError) -> ErrorBuilder {
    match refusal {
        NodeError::Name(_) => ErrorBuilder::new(ErrorKind::InvalidNode).field("node"),
        NodeError::Address(_) => ErrorBuilder::new(ErrorKind::InvalidAddress).field("address"),
        NodeError::NoRemoteNodes => ErrorBuilder::new(ErrorKind::NoRemoteNodes).hint(
            "the operator can add an address, such as `listen = [\"unix:/run/webgateway/feed.sock\", \"[::]:7443\"]`",
        ),
        NodeError::NoAddress => ErrorBuilder::new(ErrorKind::AddressMissing).field("address"),
        NodeError::Ttl => ErrorBuilder::new(ErrorKind::InvalidTtl).field("ttl"),
        NodeError::Taken(_) => ErrorBuilder::new(ErrorKind::NodeTaken)
            .field("node")
            .hint("choose another name, or remove that node with `nodes.remove`"),
        NodeError::Unknown(_) => {
            ErrorBuilder::new(ErrorKind::NodeNotFound).field("node").hint("`nodes.list` lists the nodes")
        }
        NodeError::NoMember(_) => ErrorBuilder::new(ErrorKind::NodeNotFound)
            .field("node")
            .hint("to remove a node that runs on the controlplane's machine, stop it there"),
        NodeError::NoRandomness => {
            error!(error = %refusal, "internal error");
            ErrorBuilder::new(ErrorKind::Internal)
        }
    }
}

fn backends_error(invalid: &InvalidBackendsError) -> ErrorBuilder {
    let kind = match invalid {
        InvalidBackendsError::None => ErrorKind::BackendMissing,
        InvalidBackendsError::TooMany(_) => ErrorKind::TooManyBackends,
        InvalidBackendsError::Duplicate(_) => ErrorKind::DuplicateBackend,
        InvalidBackendsError::Backend(_) => ErrorKind::InvalidBackend,
    };
    let builder = ErrorBuilder::new(kind).field("backends");
    if let InvalidBackendsError::Backend(InvalidBackendError::Prohibited(..)) = invalid {
        return builder.hint(
            "a backend is an address on the overlay network: on the machine that serves, \
             `mycelium inspect --json` prints it",
        );
    }
    builder
}

fn option_error(unsuitable: UnsuitableOptionError) -> ErrorBuilder {
    let builder =
        match unsuitable {
            UnsuitableOptionError::HealthPath => {
                ErrorBuilder::new(ErrorKind::PassthroughHealth).hint("leave `path` out")
            }
            UnsuitableOptionError::TerminatedOnly(_) | UnsuitableOptionError::RequestRate => {
                ErrorBuilder::new(ErrorKind::PassthroughOption).hint("leave it out, or terminate the route")
            }
            UnsuitableOptionError::Needs { .. } => ErrorBuilder::new(ErrorKind::InvalidParams)
                .hint("set the other option too, or leave both out"),
            UnsuitableOptionError::UnknownWeight(_) => ErrorBuilder::new(ErrorKind::InvalidParams)
                .hint("leave its weight out, or add it to `backends`"),
            UnsuitableOptionError::AllDrained => ErrorBuilder::new(ErrorKind::InvalidParams)
                .hint("give a backend a weight above 0; to close the route, delete it"),
        };
    builder.field(unsuitable.option())
}

/// Logs a failure of the store and returns its error.
fn log_store_error(error: &StoreError) -> ErrorObject {
    error!(%error, "store failed");
    store_error(error)
}

fn store_error(error: &StoreError) -> ErrorObject {
    match error {
        StoreError::Replayed => replayed_error().build(error.to_string()),
        StoreError::Connection(_) | StoreError::Interrupted => {
            ErrorBuilder::new(ErrorKind::Unavailable).hint(TRY_AGAIN).build("the store is not available now")
        }
        StoreError::Database(_) | StoreError::NotCommitted(_) | StoreError::Damaged { .. } => {
            ErrorBuilder::new(ErrorKind::Internal).hint(TRY_AGAIN).build("the store failed")
        }
    }
}

fn replayed_error() -> ErrorBuilder {
    let hint = "sign every request again; two equal requests without a nonce need different dates";
    ErrorBuilder::new(ErrorKind::Replayed).field("nonce").hint(hint)
}

/// Returns the error for a body, or an entry of a batch, that is not a valid call.
pub(super) fn envelope_error(error: &EnvelopeError) -> ErrorObject {
    let builder = match error {
        EnvelopeError::NotJson(_) => ErrorBuilder::new(ErrorKind::ParseError),
        EnvelopeError::EmptyBatch => ErrorBuilder::new(ErrorKind::EmptyBatch),
        EnvelopeError::LargeBatch(_) => {
            ErrorBuilder::new(ErrorKind::BatchTooLarge).hint("send several batches")
        }
        EnvelopeError::NotACall(_) | EnvelopeError::ScalarParams => {
            ErrorBuilder::new(ErrorKind::InvalidRequest)
        }
        EnvelopeError::InvalidId => ErrorBuilder::new(ErrorKind::InvalidRequest).field("id"),
        EnvelopeError::PositionalParams(_) => ErrorBuilder::new(ErrorKind::PositionalParams),
    };
    builder.build(error.to_string())
}

/// Returns the error for a method that does not exist. The name is cut to 100 characters.
pub(super) fn method_not_found(name: &str) -> ErrorObject {
    let shortened: String = name.chars().take(100).collect();
    ErrorBuilder::new(ErrorKind::MethodNotFound)
        .hint("`rpc.discover` lists the methods")
        .build(format!("there is no method `{shortened}`"))
}

/// The reason why params cannot be deserialized.
#[derive(Debug)]
pub(super) struct ParamsError {
    /// The kind of the error.
    pub(super) kind: ErrorKind,
    /// The name of the invalid param, if it is known.
    pub(super) field: Option<String>,
    /// The message for the client.
    pub(super) message: String,
}

impl ParamsError {
    /// Creates the error for the params `given`, of which `field` is invalid. A health check that is well-formed and
    /// has values out of range has a kind of its own.
    pub(super) fn new(field: Option<String>, message: String, given: &Map<String, Value>) -> Self {
        let value = field.as_deref().and_then(|field| given.get(field));
        let kind = match field.as_deref() {
            Some("health") if value.is_some_and(HealthCheck::is_well_formed) => ErrorKind::InvalidHealth,
            Some(_) | None => ErrorKind::InvalidParams,
        };
        Self { kind, field, message }
    }
}

/// Returns the error for invalid params.
pub(super) fn invalid_params(error: ParamsError) -> ErrorObject {
    let mut builder = ErrorBuilder::new(error.kind);
    builder.field = error.field.map(Cow::Owned);
    builder.build(error.message)
}

/// Logs an internal error and returns what the client gets, which has no details.
pub(super) fn log_internal_error(what: &'static str, reason: &dyn std::fmt::Display) -> ErrorObject {
    error!(what, %reason, "internal error");
    internal_error()
}

fn internal_error() -> ErrorObject {
    ErrorBuilder::new(ErrorKind::Internal)
        .hint("tell the operator; the log of the controlplane has the cause")
        .build("internal error of the gateway")
}

/// An error of a request as a whole, with its HTTP status.
pub(super) struct HttpError {
    /// The HTTP status of the response.
    pub(super) status: StatusCode,
    /// The error object in the body.
    pub(super) error: ErrorObject,
}
