//! The flags that decide which clients may use a route.

use clap::Args;
use webgateway_proto::model::options::{InvalidNetworksError, Networks};
use webgateway_proto::model::{Patch, RouteOptionsPatch};

use super::error::OptionError;

/// The flags of `allow` and `deny`.
#[derive(Debug, Args)]
pub(super) struct AccessFlags {
    /// A network whose clients may use the route, such as 203.0.113.0/24; all others may not. Repeatable
    #[arg(long, value_name = "CIDR")]
    allow: Vec<String>,
    /// A network whose clients may not use the route, even if --allow contains them; repeatable
    #[arg(long, value_name = "CIDR")]
    deny: Vec<String>,
}

impl AccessFlags {
    /// Adds the flags to `patch`.
    pub(super) fn add_to(&self, patch: &mut RouteOptionsPatch) -> Result<(), OptionError> {
        patch.allow = networks("--allow", &self.allow)?;
        patch.deny = networks("--deny", &self.deny)?;
        Ok(())
    }
}

/// Parses the values of a flag that is given once for each network.
fn networks(flag: &'static str, values: &[String]) -> Result<Patch<Networks>, OptionError> {
    if values.is_empty() {
        return Ok(Patch::Keep);
    }
    let networks = Networks::try_from(values.to_vec());
    networks.map(Patch::Set).map_err(|error: InvalidNetworksError| OptionError::new(flag, &error))
}
