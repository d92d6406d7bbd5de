//! The audit log as a hash chain: records of changes, their signed requests, and the check of both.
//!
//! A record's hash is the SHA-256 of its canonical JSON (sorted keys, no white space, RFC 8785) with the hash of the
//! preceding record as `previous`, so that a changed, omitted or inserted record is detected. The signed request is
//! included by its own hash.

use aws_lc_rs::digest::{SHA256, digest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thiserror::Error;

use crate::httpsig::{Evidence, EvidenceError};
use crate::model::KeyId;

/// The caller of changes that the gateway makes on its own. No key id can have this form.
pub const GATEWAY: &str = "(gateway)";

/// The audited actions, each named after the API method that requests it.
pub mod action {
    /// A route was created.
    pub const ROUTES_CREATE: &str = "routes.create";
    /// A route was changed.
    pub const ROUTES_UPDATE: &str = "routes.update";
    /// A route was deleted.
    pub const ROUTES_DELETE: &str = "routes.delete";
    /// The gateway found the proof of a route's host, so that the route holds it.
    pub const CLAIMS_PROVE: &str = "claims.prove";
    /// The gateway gave a route's host to another owner, who proved it.
    pub const CLAIMS_DISPLACE: &str = "claims.displace";
    /// The gateway deleted a route whose host was not proven in time.
    pub const CLAIMS_EXPIRE: &str = "claims.expire";
    /// A user was suspended, or their suspension changed.
    pub const ADMIN_SUSPEND: &str = "admin.suspend";
    /// A suspension was lifted, or ended by itself.
    pub const ADMIN_UNSUSPEND: &str = "admin.unsuspend";
    /// A user's quotas were set.
    pub const ADMIN_QUOTA: &str = "admin.quota";
    /// The renewal of a certificate was requested.
    pub const CERTIFICATES_RENEW: &str = "certificates.renew";
    /// A join token was created.
    pub const NODES_INVITE: &str = "nodes.invite";
    /// A node joined. Nodes join through the feed's enrolment service, not through the API.
    pub const NODES_JOIN: &str = "nodes.join";
    /// The draining of a node was switched on or off.
    pub const NODES_DRAIN: &str = "nodes.drain";
    /// A node was removed.
    pub const NODES_REMOVE: &str = "nodes.remove";
}

/// A record of one change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditRecord {
    /// The record's number, from 1. There may be gaps.
    pub id: u64,
    /// The time of the change (RFC 3339, UTC, with milliseconds).
    pub at: String,
    /// The key id of the caller, or `(gateway)` for a change that the gateway made on its own, as requested earlier.
    pub caller: String,
    /// The caller's address; `-` for the gateway itself.
    pub client: String,
    /// The called method.
    pub method: String,
    /// The changed object, such as `route/<uuid>`.
    pub target: String,
    /// The object before the change; null if it did not exist.
    pub before: Value,
    /// The object after the change; null if it does not exist any more.
    pub after: Value,
    /// The store's revision that contains the change.
    pub revision: u64,
    /// The hash of the signed request, in lower-case hex; absent in records of the gateway itself, and in records that
    /// are older than the storage of requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The record's own hash, in lower-case hex; absent in records that are older than the chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
}

/// An audit record that fails verification.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AuditChainError {
    /// This record or an earlier one was changed, omitted or inserted.
    #[error("its hash does not match its content and the preceding record")]
    Hash,
    /// The record has no hash, although an earlier one has.
    #[error("it has no hash, although an earlier record has one")]
    Unchained,
    /// The record names no signed request, although its caller must have signed one.
    #[error("it names no signed request")]
    Unsigned,
    /// The request that the record names is missing.
    #[error("its signed request is missing")]
    NoRequest,
    /// The request does not have the hash that the record names.
    #[error("its signed request was replaced by another one")]
    OtherRequest,
    /// The request's signature cannot be verified.
    #[error("its signed request cannot be verified: {0}")]
    Evidence(#[from] EvidenceError),
    /// The request was signed by another key than the caller's.
    #[error("its request was signed by {0}")]
    OtherCaller(KeyId),
    /// The request does not call the record's method.
    #[error("its request does not call {0}")]
    OtherMethod(String),
}

impl AuditRecord {
    /// Returns the record's hash when it follows a record with the hash `previous`; `None` for the first of the chain.
    #[must_use]
    pub fn link(&self, previous: Option<&str>) -> String {
        hash(json!({
            "id": self.id, "at": self.at, "caller": self.caller, "client": self.client, "method": self.method,
            "target": self.target, "before": self.before, "after": self.after, "revision": self.revision,
            "request": self.request, "previous": previous,
        }))
    }

    /// Checks the record against the hash of the preceding record and against its signed request.
    pub fn check(&self, previous: Option<&str>, request: Option<&Evidence>) -> Result<(), AuditChainError> {
        match &self.hash {
            None if previous.is_some() => return Err(AuditChainError::Unchained),
            None => return Ok(()),
            Some(hash) if *hash != self.link(previous) => return Err(AuditChainError::Hash),
            Some(_) => {}
        }
        let Some(named) = &self.request else {
            return if self.is_automatic() { Ok(()) } else { Err(AuditChainError::Unsigned) };
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
    /// Returns whether the gateway may have made this change on its own: the end of a suspension with an end date, or a
    /// decision about a claim to a host.
    fn is_automatic(&self) -> bool {
        let is_scheduled = match self.method.as_str() {
            action::ADMIN_UNSUSPEND => self.before["until"].is_string(),
            action::CLAIMS_PROVE | action::CLAIMS_DISPLACE | action::CLAIMS_EXPIRE => {
                self.before["claim"].is_string()
            }
            _ => false,
        };
        self.caller == GATEWAY && is_scheduled
    }
}

/// Returns the hash by which a record names its request.
#[must_use]
pub fn request_hash(request: &Evidence) -> String {
    hash(serde_json::to_value(request).unwrap_or_default())
}

/// Returns whether a JSON-RPC body, one call or a batch, calls `method`.
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
    fn a_changed_or_omitted_record_breaks_the_chain() {
        let request = request("routes.create");
        let first = record(1, &request, None);
        let second = record(2, &request, first.hash.as_deref());
        assert_eq!(first.check(None, Some(&request)), Ok(()));
        assert_eq!(second.check(first.hash.as_deref(), Some(&request)), Ok(()));
        assert_eq!(second.check(None, Some(&request)), Err(AuditChainError::Hash), "the first was left out");
        let changed = AuditRecord { client: "400::2".into(), ..first.clone() };
        assert_eq!(changed.check(None, Some(&request)), Err(AuditChainError::Hash));
        let json = serde_json::to_string(&first).unwrap();
        assert_eq!(serde_json::from_str::<AuditRecord>(&json).unwrap().check(None, Some(&request)), Ok(()));
        let unchained = AuditRecord { hash: None, ..first.clone() };
        assert_eq!(unchained.check(None, None), Ok(()), "from before the chain");
        assert_eq!(unchained.check(first.hash.as_deref(), None), Err(AuditChainError::Unchained));
    }

    #[test]
    fn only_changes_that_the_gateway_makes_itself_need_no_signature() {
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
        for method in [action::CLAIMS_PROVE, action::CLAIMS_DISPLACE, action::CLAIMS_EXPIRE] {
            let claim = json!({ "owner": "user1.pub", "host": "shop.example.org", "claim": "claimed" });
            let decided = AuditRecord { method: method.into(), before: claim, ..ended.clone() };
            assert_eq!(check(decided.clone()), Ok(()), "{method}");
            let forged = AuditRecord { caller: "user1.pub".into(), ..decided };
            assert_eq!(check(forged), Err(AuditChainError::Unsigned), "{method}");
        }
        for forged in [
            AuditRecord { caller: "user1.pub".into(), ..ended.clone() },
            AuditRecord { method: "routes.delete".into(), ..ended.clone() },
            AuditRecord { before: json!({ "suspended": true, "until": null }), ..ended.clone() },
        ] {
            assert_eq!(check(forged.clone()), Err(AuditChainError::Unsigned), "{forged:?}");
        }
    }

    #[test]
    fn a_record_needs_its_own_signed_request() {
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
