//! The flags that bound a request: its times, its attempts and its size.

use std::time::Duration;

use clap::Args;
use webgateway_proto::model::options::{
    Attempts, MaxBody, Retries, RetryConditions, RetryOn, Timeout, Timeouts,
};
use webgateway_proto::model::{Patch, RouteOptionsPatch, Words as _};

use super::error::OptionError;
use crate::cli::wait::parse_duration;

/// The flags of `timeouts`, `retries` and `max_body`.
#[derive(Debug, Args)]
pub(super) struct BoundFlags {
    /// The time to connect to a backend, from 10ms to 24h. Timeouts that are not given become those of the node
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeouts_connect: Option<Duration>,
    /// The time from the end of a request to the first byte of its response
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeouts_first_byte: Option<Duration>,
    /// The time without a byte of a response; for WebSockets and passthrough, without a byte in either direction
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeouts_idle: Option<Duration>,
    /// The time from the start of a request to the end of its response
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeouts_total: Option<Duration>,
    /// The maximum number of attempts to forward a request, the first included, from 1 to 10; the operator may set a
    /// lower maximum
    #[arg(long, value_name = "N")]
    retries: Option<u64>,
    /// The failures after which there is another attempt, separated by commas: connect, closed, timeout, 502, 503, 504.
    /// What may have been sent is sent again only for idempotent requests without a body [default: connect]
    #[arg(long, value_name = "FAILURES", requires = "retries", value_delimiter = ',')]
    retries_on: Vec<String>,
    /// The maximum size of a request's body, such as 512KiB, 10MiB or 1GiB; a larger one is refused with 413
    #[arg(long, value_name = "SIZE")]
    max_body: Option<String>,
}

impl BoundFlags {
    /// Adds the flags to `patch`.
    pub(super) fn add_to(&self, patch: &mut RouteOptionsPatch) -> Result<(), OptionError> {
        let timeouts = Timeouts {
            connect: timeout("--timeouts-connect", self.timeouts_connect)?,
            first_byte: timeout("--timeouts-first-byte", self.timeouts_first_byte)?,
            idle: timeout("--timeouts-idle", self.timeouts_idle)?,
            total: timeout("--timeouts-total", self.timeouts_total)?,
        };
        patch.timeouts = if timeouts.is_empty() { Patch::Keep } else { Patch::Set(timeouts) };
        patch.retries = self.retries()?.map(Some).into();
        patch.max_body = self.max_body.as_deref().map(parse_size).transpose()?.map(Some).into();
        Ok(())
    }

    fn retries(&self) -> Result<Option<Retries>, OptionError> {
        let Some(number) = self.retries else { return Ok(None) };
        let attempts = Attempts::try_from(number).map_err(|error| OptionError::new("--retries", &error))?;
        let words = self.retries_on.iter().map(|word| word.trim());
        let on = match self.retries_on.is_empty() {
            true => RetryConditions::parse([RetryOn::default().as_str()]),
            false => RetryConditions::parse(words),
        };
        let on = on.map_err(|error| OptionError::new("--retries-on", &error))?;
        Ok(Some(Retries { attempts, on }))
    }
}

fn timeout(flag: &'static str, time: Option<Duration>) -> Result<Option<Timeout>, OptionError> {
    let timeout = time.map(Timeout::try_from).transpose();
    timeout.map_err(|error| OptionError::new(flag, &error))
}

/// Parses a size in bytes with an optional unit.
fn parse_size(text: &str) -> Result<MaxBody, OptionError> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "k" | "kib" => 1 << 10,
        "mb" => 1_000_000,
        "m" | "mib" => 1 << 20,
        "gb" => 1_000_000_000,
        "g" | "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => 0,
    };
    let bytes = number.parse().ok().and_then(|number: u64| number.checked_mul(unit)).filter(|_| unit > 0);
    let bytes = bytes.ok_or_else(|| {
        OptionError::text(
            "--max-body",
            format!("`{text}` is not a size: write 512KiB, 10MiB or a number of bytes"),
        )
    })?;
    MaxBody::try_from(bytes).map_err(|error| OptionError::new("--max-body", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit_or_is_a_number_of_bytes() {
        for (text, bytes) in [
            ("1", 1),
            ("512b", 512),
            ("10MiB", 10 << 20),
            ("10 MiB", 10 << 20),
            ("10m", 10 << 20),
            ("1kb", 1000),
            ("1TiB", 1 << 40),
        ] {
            assert_eq!(parse_size(text).map(MaxBody::bytes), Ok(bytes), "{text}");
        }
        for text in
            ["", "MiB", "1.5MiB", "-1", "10 potatoes", "99999999999999999999", "18446744073709551615k"]
        {
            let error = parse_size(text).unwrap_err();
            assert!(error.to_string().contains("is not a size"), "{text}: {error}");
        }
        for text in ["0", "2TiB"] {
            assert!(parse_size(text).unwrap_err().to_string().contains("1 TiB"), "{text}");
        }
    }
}
