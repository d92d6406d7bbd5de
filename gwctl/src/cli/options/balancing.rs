//! The flags that decide which backend serves which client.

use clap::Args;
use webgateway_proto::model::options::{CookieName, CookieTtl, Sticky, Weights};
use webgateway_proto::model::{Backend, Patch, RouteOptionsPatch};

use super::error::OptionError;
use crate::cli::wait::parse_duration;

/// The flags of `weights` and `sticky`.
#[derive(Debug, Args)]
pub(crate) struct BalancingFlags {
    /// The weight of a backend, from 0 to 256, such as [54f:1::2]:8080=3; repeatable. Backends without one have the
    /// weight 1; 0 drains a backend: it gets no new clients
    #[arg(long, value_name = "ADDRESS=N")]
    pub(crate) weights: Vec<String>,
    /// Keep each client at one backend by a cookie of this name [default COOKIE: __Host-backend]
    #[arg(long, value_name = "COOKIE", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = CookieName::DEFAULT)]
    sticky: Option<String>,
    /// The lifetime of the cookie, from 1s to 400days [default: until the browser closes]
    #[arg(long, value_name = "DURATION", requires = "sticky", value_parser = parse_duration)]
    sticky_ttl: Option<std::time::Duration>,
}

impl BalancingFlags {
    /// Adds the flags to `patch`.
    pub(super) fn add_to(&self, patch: &mut RouteOptionsPatch) -> Result<(), OptionError> {
        if !self.weights.is_empty() {
            let parsed: Result<Vec<_>, _> = self.weights.iter().map(|text| parse_weight(text)).collect();
            let weights = Weights::new(parsed?).map_err(|error| OptionError::new("--weights", &error))?;
            patch.weights = Patch::Set(weights);
        }
        patch.sticky = self.sticky()?.map(Some).into();
        Ok(())
    }

    fn sticky(&self) -> Result<Option<Sticky>, OptionError> {
        let Some(name) = &self.sticky else { return Ok(None) };
        let cookie =
            CookieName::try_from(name.clone()).map_err(|error| OptionError::new("--sticky", &error))?;
        let ttl = self.sticky_ttl.map(|ttl| CookieTtl::try_from(ttl.as_secs())).transpose();
        let ttl = ttl.map_err(|error| OptionError::new("--sticky-ttl", &error))?;
        Ok(Some(Sticky { cookie, ttl }))
    }
}

/// Parses `ADDRESS=N`.
fn parse_weight(text: &str) -> Result<(Backend, u64), OptionError> {
    let malformed = || OptionError::text("--weights", format!("`{text}` is not a backend and its weight"));
    let (backend, weight) = text.rsplit_once('=').ok_or_else(malformed)?;
    let backend = backend.parse().map_err(|error| OptionError::new("--weights", &error))?;
    let weight = weight.parse().map_err(|_| malformed())?;
    Ok((backend, weight))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_follows_an_equals_sign() {
        assert_eq!(parse_weight("[400::1]:80=3").unwrap(), ("[400::1]:80".parse().unwrap(), 3));
        for (text, word) in [
            ("[400::1]:80", "a backend and its weight"),
            ("[400::1]:80=", "a backend and its weight"),
            ("[400::1]:80=-1", "a backend and its weight"),
            ("[400::1]:80=1.5", "a backend and its weight"),
            ("[400::1]=3", "no port"),
            ("=3", "not an address"),
            ("example.org:80=3", "not an address"),
        ] {
            let error = parse_weight(text).unwrap_err();
            assert!(error.to_string().contains(word) && error.flag == "--weights", "{text}: {error}");
        }
    }
}
