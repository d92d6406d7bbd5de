//! The one table from what went wrong to what the client is told. Internal detail stays here.

use std::borrow::Cow;

use http::StatusCode;
use tracing::{error, warn};
use webgateway_proto::api::jsonrpc::{ErrorData, ErrorObject, code};
use webgateway_proto::httpsig::Failure;
use webgateway_proto::model::InvalidBackends;

use super::auth::AuthFailure;
use super::jsonrpc::Malformed;
use crate::domain::{NodeRefusal, Refusal};
use crate::store::StoreError;

type Text = Cow<'static, str>;

/// An error without its message.
struct Row {
    code: i64,
    kind: &'static str,
    field: Option<Text>,
    hint: Option<Text>,
    retry_after: Option<u64>,
}

impl Row {
    const fn new(code: i64, kind: &'static str) -> Self {
        Self { code, kind, field: None, hint: None, retry_after: None }
    }

    fn field(mut self, field: &'static str) -> Self {
        self.field = Some(field.into());
        self
    }

    fn hint(mut self, hint: impl Into<Text>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn say(self, message: impl Into<Text>) -> ErrorObject {
        let data = ErrorData {
            kind: self.kind.into(),
            field: self.field,
            hint: self.hint,
            retry_after: self.retry_after,
            more: serde_json::Map::new(),
        };
        ErrorObject { code: self.code, message: message.into(), data: Some(data) }
    }
}

/// What the rules refuse.
pub(super) fn refused(refusal: &Refusal) -> ErrorObject {
    use code::{CONFLICT, FORBIDDEN, INVALID_PARAMS, NOT_FOUND};
    let row = match refusal {
        Refusal::NoHost => Row::new(INVALID_PARAMS, "host_missing").field("fqdn"),
        Refusal::TwoHosts => Row::new(INVALID_PARAMS, "two_hosts").field("subdomain"),
        Refusal::InvalidHost(field, _) => Row::new(INVALID_PARAMS, "invalid_host").field(field),
        Refusal::NotALabel(_) => Row::new(INVALID_PARAMS, "invalid_host").field("subdomain"),
        Refusal::BaseDomain(_) => Row::new(INVALID_PARAMS, "host_reserved")
            .field("fqdn")
            .hint("choose a name below it with `subdomain`, or a domain of your own"),
        Refusal::AcmeChallenge(field, _) => Row::new(INVALID_PARAMS, "host_reserved").field(field),
        Refusal::Reserved(field, _) => {
            Row::new(INVALID_PARAMS, "host_reserved").field(field).hint("choose another name")
        }
        Refusal::PassthroughSubdomain => Row::new(INVALID_PARAMS, "passthrough_needs_fqdn").field("mode"),
        Refusal::Backends(invalid) => backends(invalid),
        Refusal::Health(_) => Row::new(INVALID_PARAMS, "invalid_health").field("health"),
        Refusal::HealthPath => {
            Row::new(INVALID_PARAMS, "passthrough_health").field("health").hint("leave `path` out")
        }
        Refusal::RouteId(_) => Row::new(INVALID_PARAMS, "invalid_id").field("id"),
        Refusal::KeyId(_) => Row::new(INVALID_PARAMS, "invalid_user").field("user"),
        Refusal::HostTaken { own: None, .. } => {
            Row::new(CONFLICT, "host_taken").field("host").hint("choose another host")
        }
        Refusal::HostTaken { own: Some(_), .. } => {
            Row::new(CONFLICT, "host_taken").field("host").hint("update that route instead")
        }
        Refusal::IdTaken(_) => Row::new(CONFLICT, "id_taken").field("id").hint("make a new id"),
        Refusal::NoRoute(_) => {
            Row::new(NOT_FOUND, "route_not_found").field("id").hint("`routes.list` shows your routes")
        }
        Refusal::Stale { .. } => Row::new(CONFLICT, "stale_version")
            .field("expected_version")
            .hint("read the route again and decide anew"),
        Refusal::NoCertificate(_) => {
            Row::new(NOT_FOUND, "certificate_not_found").hint("`certificates.list` shows those there are")
        }
        Refusal::NoRoot => Row::new(NOT_FOUND, "no_internal_ca")
            .hint("a public CA's root is in every trust store; the operator's own CA gives its root itself"),
        Refusal::Suspended(_) => Row::new(FORBIDDEN, "suspended").hint("ask the operator"),
        Refusal::AdminOnly => Row::new(FORBIDDEN, "admin_only"),
        Refusal::NoUser(_) => Row::new(NOT_FOUND, "user_not_found")
            .field("user")
            .hint("users are named by their key, such as `user1.pub`"),
        Refusal::SuspendAdmin => Row::new(FORBIDDEN, "suspend_admin").field("user"),
        Refusal::Node(refusal) => node(refusal),
        Refusal::Limit(_) => Row::new(INVALID_PARAMS, "invalid_limit").field("limit"),
        Refusal::Cursor => Row::new(INVALID_PARAMS, "invalid_cursor")
            .field("cursor")
            .hint("give the `next_cursor` of the page before as it is, or leave it out for the first page"),
        Refusal::Store(failure) => return store(failure),
    };
    row.say(refusal.to_string())
}

/// What is refused about nodes.
fn node(refusal: &NodeRefusal) -> Row {
    use code::{CONFLICT, INTERNAL_ERROR, INVALID_PARAMS, NOT_FOUND};
    match refusal {
        NodeRefusal::Name(_) => Row::new(INVALID_PARAMS, "invalid_node").field("node"),
        NodeRefusal::Address(_) => Row::new(INVALID_PARAMS, "invalid_address").field("address"),
        NodeRefusal::NoRemoteNodes => Row::new(CONFLICT, "no_remote_nodes").hint(
            "the operator adds one, such as `listen = [\"unix:/run/webgateway/feed.sock\", \"[::]:7443\"]`",
        ),
        NodeRefusal::NoAddress => Row::new(INVALID_PARAMS, "address_missing").field("address"),
        NodeRefusal::Ttl => Row::new(INVALID_PARAMS, "invalid_ttl").field("ttl"),
        NodeRefusal::Taken(_) => Row::new(CONFLICT, "node_taken")
            .field("node")
            .hint("choose another name, or remove that node with `nodes.remove`"),
        NodeRefusal::Unknown(_) => {
            Row::new(NOT_FOUND, "node_not_found").field("node").hint("`nodes.list` shows the nodes")
        }
        NodeRefusal::NoMember(_) => Row::new(NOT_FOUND, "node_not_found")
            .field("node")
            .hint("a node of the controlplane's own machine is stopped there"),
        NodeRefusal::NoRandomness => {
            error!(failure = %refusal, "a fault of our own");
            Row::new(INTERNAL_ERROR, "internal")
        }
    }
}

fn backends(invalid: &InvalidBackends) -> Row {
    let kind = match invalid {
        InvalidBackends::None => "backend_missing",
        InvalidBackends::TooMany(_) => "too_many_backends",
        InvalidBackends::Duplicate(_) => "duplicate_backend",
        InvalidBackends::Backend(_) => "invalid_backend",
    };
    Row::new(code::INVALID_PARAMS, kind).field("backends")
}

/// What the store could not do.
fn store(failure: &StoreError) -> ErrorObject {
    error!(%failure, "the store failed");
    let again = "nothing was changed; try again, and tell the operator if it stays so";
    match failure {
        StoreError::Connection(_) | StoreError::Interrupted => {
            Row::new(code::UNAVAILABLE, "unavailable").hint(again).say("the store is not available now")
        }
        StoreError::Database(_) | StoreError::Damaged { .. } => {
            Row::new(code::INTERNAL_ERROR, "internal").hint(again).say("the store failed")
        }
    }
}

/// What is no call.
pub(super) fn malformed(malformed: &Malformed) -> ErrorObject {
    let row = match malformed {
        Malformed::NotJson(_) => Row::new(code::PARSE_ERROR, "parse_error"),
        Malformed::EmptyBatch => Row::new(code::INVALID_REQUEST, "empty_batch"),
        Malformed::LargeBatch(_) => Row::new(code::TOO_LARGE, "batch_too_large").hint("send several batches"),
        Malformed::NotACall(_) | Malformed::ScalarParams => {
            Row::new(code::INVALID_REQUEST, "invalid_request")
        }
        Malformed::Id => Row::new(code::INVALID_REQUEST, "invalid_request").field("id"),
        Malformed::Positional(_) => Row::new(code::INVALID_PARAMS, "positional_params"),
    };
    row.say(malformed.to_string())
}

/// A method that nobody has.
pub(super) fn no_method(name: &str) -> ErrorObject {
    let shown: String = name.chars().take(100).collect();
    Row::new(code::METHOD_NOT_FOUND, "method_not_found")
        .hint("`rpc.discover` shows the methods")
        .say(format!("there is no method `{shown}`"))
}

/// Params that do not fit a method.
#[derive(Debug)]
pub(super) struct Unfit {
    /// The one at fault, if that is known.
    pub(super) field: Option<String>,
    /// What is wrong with it.
    pub(super) message: String,
}

/// Params that do not fit.
pub(super) fn unfit(unfit: Unfit) -> ErrorObject {
    let mut row = Row::new(code::INVALID_PARAMS, "invalid_params");
    row.field = unfit.field.map(Cow::Owned);
    row.say(unfit.message)
}

/// A result that cannot be written, or another fault of ours.
pub(super) fn internal(what: &'static str, reason: &dyn std::fmt::Display) -> ErrorObject {
    error!(what, %reason, "a fault of our own");
    Row::new(code::INTERNAL_ERROR, "internal").say("something went wrong here")
}

/// A body over the limit.
pub(super) fn too_large(limit: usize) -> (StatusCode, ErrorObject) {
    let row = Row::new(code::TOO_LARGE, "body_too_large").hint("send less at a time");
    (StatusCode::PAYLOAD_TOO_LARGE, row.say(format!("the body is over {limit} bytes")))
}

/// A body of another type.
pub(super) fn not_json() -> (StatusCode, ErrorObject) {
    let row = Row::new(code::INVALID_REQUEST, "media_type").hint("send `Content-Type: application/json`");
    (StatusCode::UNSUPPORTED_MEDIA_TYPE, row.say("the body is said to be something else than JSON"))
}

/// A body that did not come in time.
pub(super) fn too_slow() -> (StatusCode, ErrorObject) {
    let row = Row::new(code::INVALID_REQUEST, "timeout");
    (StatusCode::REQUEST_TIMEOUT, row.say("the body did not arrive in time"))
}

/// Which requirement of authentication failed.
pub(super) fn unauthenticated(failure: &AuthFailure) -> (StatusCode, ErrorObject) {
    let row = match failure {
        AuthFailure::Signature(failure) => signature(failure),
        AuthFailure::NoAuthority => {
            let row = Row::new(code::INVALID_REQUEST, "no_host").field("host");
            return (StatusCode::BAD_REQUEST, row.say(failure.to_string()));
        }
        AuthFailure::Authority(_) => auth_row("wrong_authority").field("@authority").hint(
            "sign the URL you send to: the base domain over https, or the address of the API with its port",
        ),
        AuthFailure::UnknownKey(_) => auth_row("unknown_key")
            .field("keyid")
            .hint("ask the operator to add the public key under this name"),
        AuthFailure::UnusableKey(id, reason) => {
            warn!(key = %id, %reason, "a public key cannot be used");
            auth_row("unusable_key").field("keyid").hint("ask the operator to look at the public key")
        }
        AuthFailure::KeysAway(..) => {
            let row = Row::new(code::UNAVAILABLE, "keys_unavailable").field("keyid");
            let row = row.hint("nothing was changed; try again, and tell the operator if it stays so");
            return (StatusCode::SERVICE_UNAVAILABLE, row.say(failure.to_string()));
        }
        AuthFailure::NonceNeeded => auth_row("nonce_missing").field("nonce"),
        AuthFailure::Replayed => auth_row("replayed").field("nonce").hint("sign every request anew"),
        AuthFailure::Store(failure) => return (StatusCode::SERVICE_UNAVAILABLE, store(failure)),
    };
    (StatusCode::UNAUTHORIZED, row.say(failure.to_string()))
}

const fn auth_row(kind: &'static str) -> Row {
    Row::new(code::UNAUTHENTICATED, kind)
}

fn signature(failure: &Failure) -> Row {
    match failure {
        Failure::Unsigned => {
            auth_row("unsigned").hint("sign it as RFC 9421 says; gwctl does with --id and --key")
        }
        Failure::Malformed(field) => auth_row("signature_malformed").field(field),
        Failure::Several => auth_row("several_signatures").field("signature"),
        Failure::Label => auth_row("label_mismatch").field("signature"),
        Failure::Param(field) => auth_row("signature_parameter").field(field),
        Failure::Uncovered(component) => auth_row("not_covered").field(component),
        Failure::Component(_) => auth_row("component").field("signature-input"),
        Failure::Stale(_) => auth_row("stale").field("created"),
        Failure::Expired => auth_row("expired").field("expires"),
        Failure::Algorithm => auth_row("algorithm").field("alg"),
        Failure::DigestMissing => auth_row("digest_missing").field("content-digest"),
        Failure::DigestMalformed => auth_row("digest_malformed").field("content-digest"),
        Failure::DigestMismatch => auth_row("digest_mismatch").field("content-digest"),
        Failure::Forged => auth_row("forged").field("signature").hint("is it the private half of that key?"),
    }
}
