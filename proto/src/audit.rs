//! The audit as a hash chain: what changed, who asked for it, and how anybody can check both.
//!
//! A record's hash is the SHA-256 of its canonical JSON (keys sorted, no space: RFC 8785) with the hash of the record
//! before it as `previous`, so that no record can be changed, left out or put in unseen. The request's evidence enters
//! by its own hash.

use aws_lc_rs::digest::{SHA256, digest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thiserror::Error;

use crate::httpsig::{Evidence, EvidenceError};
use crate::model::KeyId;

/// The caller of what the gateway does by itself; no key has such a name.
pub const GATEWAY: &str = "(gateway)";

/// The audited actions: each has the name of the API's method that asks for it.
pub mod action {
    /// A route was created.
    pub const ROUTES_CREATE: &str = "routes.create";
    /// A route was changed.
    pub const ROUTES_UPDATE: &str = "routes.update";
    /// A route was deleted.
    pub const ROUTES_DELETE: &str = "routes.delete";
    /// A user was suspended, or their suspension changed.
    pub const ADMIN_SUSPEND: &str = "admin.suspend";
    /// A suspension was lifted, or ended by itself.
    pub const ADMIN_UNSUSPEND: &str = "admin.unsuspend";
    /// A user's quotas were set.
    pub const ADMIN_QUOTA: &str = "admin.quota";
    /// A renewal of a certificate was asked for.
    pub const CERTIFICATES_RENEW: &str = "certificates.renew";
    /// A join token was made.
    pub const NODES_INVITE: &str = "nodes.invite";
    /// A node joined. Nodes ask for it on the feed, not through the API.
    pub const NODES_JOIN: &str = "nodes.join";
    /// A node was told to drain, or not to drain any more.
    pub const NODES_DRAIN: &str = "nodes.drain";
    /// A node was removed.
    pub const NODES_REMOVE: &str = "nodes.remove";
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditRecord {
    /// Its number, from 1; there may be gaps.
    pub id: u64,
    /// When (RFC 3339, UTC, milliseconds).
    pub at: String,
    /// The key id of who asked for it, or `(gateway)`, which does by itself what somebody asked for earlier.
    pub caller: String,
    /// The address they came from; `-` for the gateway itself.
    pub client: String,
    /// The method that was called.
    pub method: String,
    /// What was changed, such as `route/<uuid>`.
    pub target: String,
    /// How it was; null if it was not.
    pub before: Value,
    /// How it is; null if it is no more.
    pub after: Value,
    /// The store's revision of the change.
    pub revision: u64,
    /// The hash of the signed request, lower-case hex; absent in those of the gateway itself, and from before requests
    /// were kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Its own hash, lower-case hex; absent in records from before the chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
}

/// Why a record does not stand.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AuditChainError {
    /// It, or one before it, was changed, left out or put in.
    #[error("its hash is not that of what it says and of the record before it")]
    Hash,
    /// No hash where the chain has begun.
    #[error("it has no hash, though the chain has begun before it")]
    Unchained,
    /// A caller who signed nothing.
    #[error("it names no request that its caller signed")]
    Unsigned,
    /// The request it names is not there.
    #[error("the request it came from is missing")]
    NoRequest,
    /// Its request is not what its hash says.
    #[error("the request is not the one it came from")]
    OtherRequest,
    /// Its request proves nothing.
    #[error("the request proves nothing: {0}")]
    Evidence(#[from] EvidenceError),
    /// Somebody else signed.
    #[error("the request was signed by {0}")]
    OtherCaller(KeyId),
    /// The request asks for something else.
    #[error("the request does not call {0}")]
    OtherMethod(String),
}

impl AuditRecord {
    /// Its hash after a record with the hash `previous`; `None` for the first of the chain.
    #[must_use]
    pub fn link(&self, previous: Option<&str>) -> String {
        hash(json!({
            "id": self.id, "at": self.at, "caller": self.caller, "client": self.client, "method": self.method,
            "target": self.target, "before": self.before, "after": self.after, "revision": self.revision,
            "request": self.request, "previous": previous,
        }))
    }

    /// Checks it against the record before it and the request it came from.
    pub fn check(&self, previous: Option<&str>, request: Option<&Evidence>) -> Result<(), AuditChainError> {
        match &self.hash {
            None if previous.is_some() => return Err(AuditChainError::Unchained),
            None => return Ok(()),
            Some(hash) if *hash != self.link(previous) => return Err(AuditChainError::Hash),
            Some(_) => {}
        }
        let Some(named) = &self.request else {
            return if self.is_by_itself() { Ok(()) } else { Err(AuditChainError::Unsigned) };
        };
        let request = request.ok_or(AuditChainError::NoRequest)?;
        if request_hash(request) != *named {
            return Err(AuditChainError::OtherRequest);
        }
        let signer = request.check()?;
        if signer.as_str() != self.caller {
            return Err(AuditChainError::OtherCaller(signer));
        }
        if calls(&request.body, &self.method) {
            Ok(())
        } else {
            Err(AuditChainError::OtherMethod(self.method.clone()))
        }
    }
}

impl AuditRecord {
    /// Whether it is what the gateway may do by itself: end a suspension that was to end.
    fn is_by_itself(&self) -> bool {
        self.caller == GATEWAY && self.method == action::ADMIN_UNSUSPEND && self.before["until"].is_string()
    }
}

/// The hash a record names its request by.
#[must_use]
pub fn request_hash(request: &Evidence) -> String {
    hash(serde_json::to_value(request).unwrap_or_default())
}

/// Whether a JSON-RPC body, one call or a batch, calls `method`.
fn calls(body: &str, method: &str) -> bool {
    let calls = |call: &Value| call["method"] == method;
    match serde_json::from_str(body) {
        Ok(Value::Array(batch)) => batch.iter().any(calls),
        Ok(one) => calls(&one),
        Err(_) => false,
    }
}

fn hash(mut value: Value) -> String {
    value.sort_all_objects();
    let hash = digest(&SHA256, value.to_string().as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;

    use super::*;
    use crate::httpsig::{Message, PrivateKey, PublicKeys, candidates, sign};

    fn request(method: &str) -> Evidence {
        let key = PrivateKey::from_seed(&[1; 32]);
        let body = json!([{ "jsonrpc": "2.0", "method": method, "id": 1 }]).to_string();
        let mut request = Request::post("https://gw.example/rpc").body(Bytes::from(body)).unwrap();
        sign(&mut request, &key, &"user1.pub".parse().unwrap(), 1_700_000_000, "n").unwrap();
        let signature = candidates(request.headers()).unwrap().remove(0).signature.unwrap();
        let message = Message { method: request.method(), uri: request.uri(), headers: request.headers() };
        let keys = PublicKeys::from(key.public());
        Evidence::new(&signature.verify_any(&message, &keys).unwrap(), request.body())
    }

    fn record(id: u64, request: &Evidence, previous: Option<&str>) -> AuditRecord {
        let mut record = AuditRecord {
            id,
            at: "2026-11-23T12:00:00.000Z".into(),
            caller: "user1.pub".into(),
            client: "400::1".into(),
            method: "routes.create".into(),
            target: "route/x".into(),
            before: Value::Null,
            after: json!({ "z": 1, "a": 2 }),
            revision: id,
            request: Some(request_hash(request)),
            hash: None,
        };
        record.hash = Some(record.link(previous));
        record
    }

    #[test]
    fn a_chain_stands_until_something_in_it_is_changed() {
        let request = request("routes.create");
        let first = record(1, &request, None);
        let second = record(2, &request, first.hash.as_deref());
        assert_eq!(first.check(None, Some(&request)), Ok(()));
        assert_eq!(second.check(first.hash.as_deref(), Some(&request)), Ok(()));
        assert_eq!(second.check(None, Some(&request)), Err(AuditChainError::Hash), "the first was left out");
        let changed = AuditRecord { client: "400::2".into(), ..first.clone() };
        assert_eq!(changed.check(None, Some(&request)), Err(AuditChainError::Hash));
        let told = serde_json::to_string(&first).unwrap();
        assert_eq!(serde_json::from_str::<AuditRecord>(&told).unwrap().check(None, Some(&request)), Ok(()));
        let unchained = AuditRecord { hash: None, ..first.clone() };
        assert_eq!(unchained.check(None, None), Ok(()), "from before the chain");
        assert_eq!(unchained.check(first.hash.as_deref(), None), Err(AuditChainError::Unchained));
    }

    #[test]
    fn nobody_signs_for_the_end_of_a_suspension_and_for_nothing_else() {
        let ended = AuditRecord {
            caller: GATEWAY.into(),
            client: "-".into(),
            method: "admin.unsuspend".into(),
            before: json!({ "suspended": true, "until": "2026-11-23T12:00:00Z" }),
            request: None,
            ..record(1, &request("routes.create"), None)
        };
        let check = |record: AuditRecord| {
            let hash = Some(record.link(None));
            AuditRecord { hash, ..record }.check(None, None)
        };
        assert_eq!(check(ended.clone()), Ok(()));
        for forged in [
            AuditRecord { caller: "user1.pub".into(), ..ended.clone() },
            AuditRecord { method: "routes.delete".into(), ..ended.clone() },
            AuditRecord { before: json!({ "suspended": true, "until": null }), ..ended.clone() },
        ] {
            assert_eq!(check(forged.clone()), Err(AuditChainError::Unsigned), "{forged:?}");
        }
    }

    #[test]
    fn a_record_needs_the_very_request_it_came_from() {
        let request = request("routes.create");
        let good = record(1, &request, None);
        assert_eq!(good.check(None, None), Err(AuditChainError::NoRequest));
        assert_eq!(
            good.check(None, Some(&self::request("routes.delete"))),
            Err(AuditChainError::OtherRequest)
        );
        let delete = self::request("routes.delete");
        let forged = record(1, &delete, None);
        assert_eq!(
            forged.check(None, Some(&delete)),
            Err(AuditChainError::OtherMethod("routes.create".into()))
        );
        let mut blamed = AuditRecord { caller: "user2.pub".into(), ..record(1, &request, None) };
        blamed.hash = Some(blamed.link(None));
        let signer = "user1.pub".parse().unwrap();
        assert_eq!(blamed.check(None, Some(&request)), Err(AuditChainError::OtherCaller(signer)));
    }
}
