//! The flags of `maintenance`.

use std::time::Duration;

use clap::Args;
use webgateway_proto::model::options::{InvalidMaintenanceError, Maintenance, Networks};
use webgateway_proto::model::{Patch, RouteOptionsPatch};

use super::error::OptionError;
use crate::cli::wait::parse_duration;

/// The flags of `maintenance`.
#[derive(Debug, Args)]
pub(super) struct MaintenanceFlags {
    /// Answer all requests with 503 until `--reset maintenance`; terminated routes only
    #[arg(long)]
    maintenance: bool,
    /// The text of the response, at most 1000 characters [default: a general one]
    #[arg(long, value_name = "TEXT", requires = "maintenance")]
    maintenance_text: Option<String>,
    /// The time after which clients should try again, from 1s to 7d [default: 5m]
    #[arg(long, value_name = "DURATION", requires = "maintenance", value_parser = parse_duration)]
    maintenance_retry_after: Option<Duration>,
    /// A network whose clients may use the route nevertheless, such as 203.0.113.0/24; repeatable
    #[arg(long, value_name = "CIDR", requires = "maintenance")]
    maintenance_except: Vec<String>,
}

impl MaintenanceFlags {
    /// Adds the flags to `patch`.
    pub(super) fn add_to(&self, patch: &mut RouteOptionsPatch) -> Result<(), OptionError> {
        if !self.maintenance {
            return Ok(());
        }
        let except = Networks::try_from(self.maintenance_except.clone())
            .map_err(|error| OptionError::new("--maintenance-except", &error))?;
        // A fraction of a second, or a time that is too long, is out of range.
        let seconds =
            |time: Duration| u32::try_from(time.as_secs()).ok().filter(|_| time.subsec_nanos() == 0);
        let retry_after = self.maintenance_retry_after.map(|time| seconds(time).unwrap_or(0));
        let maintenance = Maintenance::new(self.maintenance_text.as_deref(), retry_after, except);
        let maintenance = maintenance.map_err(|error| {
            let flag = match error {
                InvalidMaintenanceError::Text => "--maintenance-text",
                InvalidMaintenanceError::RetryAfter => "--maintenance-retry-after",
            };
            OptionError::new(flag, &error)
        })?;
        patch.maintenance = Patch::Set(Some(maintenance));
        Ok(())
    }
}
