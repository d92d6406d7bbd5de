//! The flag that allows other owners to have hosts below a route's host.

use clap::Args;
use webgateway_proto::model::options::{InvalidKeyIdsError, KeyIds};
use webgateway_proto::model::{Patch, RouteOptionsPatch};

use super::error::OptionError;

/// The flag of `subdomain_owners`.
#[derive(Debug, Args)]
pub(super) struct SubdomainFlags {
    /// The key id of another owner who may create routes for hosts below this host, at most 64; repeatable [default:
    /// nobody else may]
    #[arg(long, value_name = "KEY_ID")]
    subdomain_owners: Vec<String>,
}

impl SubdomainFlags {
    /// Adds the flag to `patch`.
    pub(super) fn add_to(&self, patch: &mut RouteOptionsPatch) -> Result<(), OptionError> {
        if self.subdomain_owners.is_empty() {
            return Ok(());
        }
        let owners = KeyIds::try_from(self.subdomain_owners.clone());
        let owners =
            owners.map_err(|error: InvalidKeyIdsError| OptionError::new("--subdomain-owners", &error))?;
        patch.subdomain_owners = Patch::Set(owners);
        Ok(())
    }
}
