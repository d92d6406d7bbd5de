//! A verified key and what it may do.

use std::net::IpAddr;

use webgateway_proto::model::KeyId;

use super::{Domain, Refusal};
use crate::store::{Tx, users};

/// Somebody whose signature was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    key_id: KeyId,
    is_admin: bool,
    client: IpAddr,
}

impl Domain {
    /// The caller who signed with the key `key_id`, from the address `client`. Only for verified signatures.
    #[must_use]
    pub fn caller(&self, key_id: KeyId, client: IpAddr) -> Caller {
        Caller { is_admin: key_id == self.admin, key_id, client }
    }
}

impl Caller {
    /// The key's name.
    #[must_use]
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// The address it came from.
    #[must_use]
    pub fn client(&self) -> IpAddr {
        self.client
    }

    /// Whether routes of `owner` exist for this caller.
    #[must_use]
    pub fn sees(&self, owner: &KeyId) -> bool {
        self.is_admin || self.key_id == *owner
    }

    /// Whose routes this caller sees; `None` means everybody's.
    #[must_use]
    pub fn own(&self) -> Option<&KeyId> {
        (!self.is_admin).then_some(&self.key_id)
    }

    /// Refuses everybody but the admin.
    pub fn require_admin(&self) -> Result<(), Refusal> {
        if self.is_admin { Ok(()) } else { Err(Refusal::AdminOnly) }
    }

    /// Refuses the suspended.
    pub fn require_active(&self, tx: &mut Tx<'_>) -> Result<(), Refusal> {
        if !self.is_admin && users::is_suspended(tx, &self.key_id)? {
            return Err(Refusal::Suspended(self.key_id.clone()));
        }
        Ok(())
    }
}
