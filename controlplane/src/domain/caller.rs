//! A verified key and what it may do.

use std::net::IpAddr;
use std::sync::Arc;

use time::OffsetDateTime;
use webgateway_proto::model::KeyId;

use super::refusal::{Refusal, UserRefusal};
use crate::store::audit::{AuditEntry, SignedRequest};
use crate::store::{Tx, users};

/// Somebody whose signature was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    key_id: KeyId,
    is_admin: bool,
    client: IpAddr,
    request: Option<Arc<SignedRequest>>,
}

impl Caller {
    /// A caller whose signature was verified.
    pub(super) fn new(key_id: KeyId, is_admin: bool, client: IpAddr) -> Self {
        Self { key_id, is_admin, client, request: None }
    }

    /// The key's name.
    #[must_use]
    pub(crate) fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// With what they signed: what this caller changes has it in the audit, and fails if it was asked for before.
    #[must_use]
    pub(crate) fn asking(self, request: SignedRequest) -> Self {
        Self { request: Some(Arc::new(request)), ..self }
    }

    /// The audit's entry of something this caller does now, without what was before and after.
    #[must_use]
    pub(crate) fn entry(&self, at: OffsetDateTime, method: &'static str, target: String) -> AuditEntry {
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

    /// Returns true if routes of `owner` exist for this caller.
    #[must_use]
    pub(crate) fn sees(&self, owner: &KeyId) -> bool {
        self.is_admin || self.key_id == *owner
    }

    /// Returns the owner whose routes this caller sees; `None` means everybody's.
    #[must_use]
    pub(crate) fn own(&self) -> Option<&KeyId> {
        (!self.is_admin).then_some(&self.key_id)
    }

    /// Refuses everybody but the admin.
    pub(crate) fn require_admin(&self) -> Result<(), Refusal> {
        if self.is_admin { Ok(()) } else { Err(Refusal::AdminOnly) }
    }

    /// Refuses the suspended.
    pub(crate) fn require_active(&self, tx: &mut Tx<'_>) -> Result<(), Refusal> {
        let Some(user) = self.own() else { return Ok(()) };
        match users::suspension(tx, user)? {
            Some(suspension) => {
                Err(UserRefusal::Suspended { user: user.clone(), suspension: Box::new(suspension) }.into())
            }
            None => Ok(()),
        }
    }
}
