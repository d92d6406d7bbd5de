//! The flags of a route's options, the same for `create` and `update`, and what they mean.

use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use thiserror::Error;
use webgateway_proto::model::options::HostHeader;
use webgateway_proto::model::{
    Balance, HealthCheck, InvalidHealthCheck, Patch, RouteOptions, RouteOptionsPatch, Words,
};

/// The heading of these flags in the help.
pub(crate) const HEADING: &str = "Route options";

/// The options of a route, as flags. Those not given stay as they are; for a new route that is their default.
#[derive(Debug, Args)]
#[command(next_help_heading = HEADING)]
pub(crate) struct RouteOptionFlags {
    /// How a backend is chosen [default: round_robin]
    #[arg(short, long, value_parser = words::<Balance>())]
    method: Option<Balance>,
    /// Have every node check the backends: `tcp` connects, a path such as /healthz is asked for with GET
    #[arg(long, value_name = "tcp|PATH")]
    health: Option<String>,
    /// How often, from 1s to 1h [default: 10s]
    #[arg(long, value_name = "TIME", requires = "health", value_parser = super::wait::duration)]
    health_interval: Option<Duration>,
    /// How many good checks in a row bring a backend back [default: 2]
    #[arg(long, value_name = "N", requires = "health")]
    health_rise: Option<u32>,
    /// How many bad checks in a row take a backend out [default: 3]
    #[arg(long, value_name = "N", requires = "health")]
    health_fall: Option<u32>,
    /// The Host that a backend of a terminated route gets [default: preserve]
    #[arg(long, value_parser = words::<HostHeader>())]
    host_header: Option<HostHeader>,
}

/// The flags that give options their defaults again.
#[derive(Debug, Args)]
#[command(next_help_heading = HEADING)]
pub(crate) struct Reset {
    /// Give an option its default again, by its name in the API, such as balance; repeat it for more
    #[arg(long, value_name = "OPTION", value_parser = PossibleValuesParser::new(RouteOptions::NAMES))]
    reset: Vec<String>,
    /// Judge the backends by the traffic alone again, as --reset health does
    #[arg(long, conflicts_with = "health")]
    no_health: bool,
}

/// An option's flag with a value that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub(crate) struct OptionError {
    /// The flag, as it is written.
    pub(crate) flag: &'static str,
    /// What to write instead.
    pub(crate) hint: Option<&'static str>,
    message: String,
}

impl RouteOptionFlags {
    /// Returns the changes that the flags ask for.
    pub(crate) fn patch(&self) -> Result<RouteOptionsPatch, OptionError> {
        Ok(RouteOptionsPatch {
            balance: self.method.into(),
            health: self.health()?.map(Some).into(),
            host_header: self.host_header.into(),
        })
    }

    fn health(&self) -> Result<Option<HealthCheck>, OptionError> {
        let Some(probe) = &self.health else { return Ok(None) };
        let path = Some(probe.as_str()).filter(|probe| *probe != "tcp");
        let interval = self.health_interval.unwrap_or(HealthCheck::INTERVAL);
        if interval.subsec_nanos() > 0 {
            return Err(InvalidHealthCheck::Interval.into());
        }
        let rise = self.health_rise.unwrap_or(HealthCheck::RISE);
        let fall = self.health_fall.unwrap_or(HealthCheck::FALL);
        Ok(Some(HealthCheck::new(path, interval, rise, fall)?))
    }
}

impl Reset {
    /// Adds the resets to the other changes.
    pub(crate) fn add_to(&self, mut patch: RouteOptionsPatch) -> RouteOptionsPatch {
        for name in &self.reset {
            // The parser has let through names of options alone.
            let _ = patch.reset(name);
        }
        if self.no_health {
            patch.health = Patch::Reset;
        }
        patch
    }
}

impl From<InvalidHealthCheck> for OptionError {
    fn from(invalid: InvalidHealthCheck) -> Self {
        let (flag, hint) = match invalid {
            InvalidHealthCheck::Path => (
                "--health",
                Some("write --health tcp, or --health /healthz with the path the backend answers"),
            ),
            InvalidHealthCheck::Interval => ("--health-interval", None),
            InvalidHealthCheck::Count => ("--health-rise, --health-fall", None),
        };
        Self { flag, hint, message: invalid.to_string() }
    }
}

/// Parses one of an option's words.
fn words<T: Words + Send + Sync>() -> impl TypedValueParser<Value = T> {
    let word = |word: &T| PossibleValue::new(word.as_str()).help(word.meaning().trim_end_matches('.'));
    PossibleValuesParser::new(T::ALL.iter().map(word)).try_map(|text| T::parse(&text))
}
