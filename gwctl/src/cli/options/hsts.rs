//! The flag of HTTP Strict Transport Security.

use std::time::Duration;

use clap::Args;
use thiserror::Error;
use webgateway_proto::model::options::{Hsts, InvalidHstsError};
use webgateway_proto::model::{Patch, RouteOptionsPatch};

use super::error::OptionError;

/// The flag of `hsts`.
#[derive(Debug, Args)]
pub(super) struct HstsFlags {
    /// Tell browsers to use the host with https only, for this time, at most 3650d; 0s ends it. With `,subdomains` it
    /// holds for all hosts below too; with `,preload` (365d or more, and subdomains) browsers may build it in
    #[arg(long, value_name = "TIME[,subdomains][,preload]")]
    hsts: Option<String>,
}

/// An invalid value of the flag.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
enum HstsFlagError {
    #[error("`{0}` is not a time: write one such as 365d")]
    Time(String),
    #[error("`{0}` is neither subdomains nor preload")]
    Word(String),
    #[error(transparent)]
    Policy(#[from] InvalidHstsError),
}

impl HstsFlags {
    /// Adds the flag to `patch`.
    pub(super) fn add_to(&self, patch: &mut RouteOptionsPatch) -> Result<(), OptionError> {
        if let Some(text) = &self.hsts {
            let hsts = parse(text).map_err(|error| {
                let preload = error == HstsFlagError::Policy(InvalidHstsError::Preload);
                let hint = preload.then_some("write --hsts 365d,subdomains,preload");
                OptionError::new("--hsts", &error).with_hint(hint)
            })?;
            patch.hsts = Patch::Set(Some(hsts));
        }
        Ok(())
    }
}

fn parse(text: &str) -> Result<Hsts, HstsFlagError> {
    let (time, words) = text.split_once(',').map_or((text, None), |(time, words)| (time, Some(words)));
    let max_age: Duration =
        humantime::parse_duration(time).map_err(|_| HstsFlagError::Time(time.to_owned()))?;
    let (mut subdomains, mut preload) = (false, false);
    for word in words.into_iter().flat_map(|words| words.split(',')) {
        match word.trim() {
            "subdomains" => subdomains = true,
            "preload" => preload = true,
            other => return Err(HstsFlagError::Word(other.to_owned())),
        }
    }
    Ok(Hsts::new(max_age, subdomains, preload)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_a_time_and_words() {
        for (text, value) in [
            ("365d", "max-age=31536000"),
            ("0s", "max-age=0"),
            ("1h 30m", "max-age=5400"),
            ("5m,subdomains", "max-age=300; includeSubDomains"),
            ("365d,preload,subdomains", "max-age=31536000; includeSubDomains; preload"),
        ] {
            assert_eq!(parse(text).unwrap().value(), value, "{text}");
        }
        for (text, message) in [
            ("", "`` is not a time"),
            ("on", "`on` is not a time"),
            ("31536000", "`31536000` is not a time"),
            ("365d,", "`` is neither"),
            ("365d,includeSubDomains", "`includeSubDomains` is neither"),
            ("3651d", "ten years"),
            ("1500ms", "whole seconds"),
            ("365d,preload", "subdomains included"),
            ("364d,subdomains,preload", "365 days"),
        ] {
            assert!(parse(text).unwrap_err().to_string().contains(message), "{text}");
        }
    }
}
