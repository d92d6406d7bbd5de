//! The verified caller of a request, and the caller's permissions.

use std::net::IpAddr;
use std::sync::Arc;

use time::OffsetDateTime;
use webgateway_proto::httpsig::{Algorithm, PublicKey};
use webgateway_proto::model::KeyId;

use super::error::{DomainError, UserError};
use crate::store::audit::{AuditEntry, SignedRequest};
use crate::store::{Tx, users};

/// The caller of a request whose signature was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    key_id: KeyId,
    is_admin: bool,
    client: IpAddr,
    key: Option<Arc<(PublicKey, Algorithm)>>,
    request: Option<Arc<SignedRequest>>,
}

impl Caller {
    /// Creates a caller. Only for verified signatures.
    pub(super) fn new(key_id: KeyId, is_admin: bool, client: IpAddr) -> Self {
        Self { key_id, is_admin, client, key: None, request: None }
    }

    /// Returns the id of the caller's key.
    #[must_use]
    pub(crate) fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// Adds the key that verified the signature, and the algorithm.
    #[must_use]
    pub(crate) fn with_key(self, key: PublicKey, algorithm: Algorithm) -> Self {
        Self { key: Some(Arc::new((key, algorithm))), ..self }
    }

    /// Returns the key that verified the signature, and the algorithm.
    #[must_use]
    pub(crate) fn key(&self) -> Option<&(PublicKey, Algorithm)> {
        self.key.as_deref()
    }

    /// Adds the signed request. Audit entries of the caller's changes then contain the request, and the changes fail if
    /// its nonce was used before.
    #[must_use]
    pub(crate) fn with_request(self, request: SignedRequest) -> Self {
        Self { request: Some(Arc::new(request)), ..self }
    }

    /// Returns an audit entry for an action of this caller, without the state before and after.
    #[must_use]
    pub(crate) fn audit_entry(&self, at: OffsetDateTime, method: &'static str, target: String) -> AuditEntry {
        AuditEntry {
            at,
            caller: self.key_id.to_string(),
            client: self.client.to_string(),
            method,
            target,
            before: None,
            after: None,
            request: self.request.clone(),
        }
    }

    /// Returns true if the caller can see routes of `owner`.
    #[must_use]
    pub(crate) fn can_see(&self, owner: &KeyId) -> bool {
        self.is_admin || self.key_id == *owner
    }

    /// Returns the caller's key id, or `None` for the admin. A user can see only their own routes and has quotas; the
    /// admin can see all routes and has no quotas.
    #[must_use]
    pub(crate) fn as_user(&self) -> Option<&KeyId> {
        (!self.is_admin).then_some(&self.key_id)
    }

    /// Returns an error unless the caller is the admin.
    pub(crate) fn require_admin(&self) -> Result<(), DomainError> {
        if self.is_admin { Ok(()) } else { Err(DomainError::AdminOnly) }
    }

    /// Returns an error if the caller is suspended.
    pub(crate) fn require_active(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        let Some(user) = self.as_user() else { return Ok(()) };
        match users::suspension(tx, user)? {
            Some(suspension) => {
                Err(UserError::Suspended { user: user.clone(), suspension: Box::new(suspension) }.into())
            }
            None => Ok(()),
        }
    }
}
