//! The global flags.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ColorChoice, ValueEnum};

/// The flags that every command accepts.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The URL of the API [default: http://localhost:8080/rpc]
    #[arg(short, long, global = true, env = "WEBGATEWAY_URL")]
    pub(crate) url: Option<String>,
    /// The key id: the name under which the operator has the public key [default: the key file's name, with .pub
    /// instead of .priv]
    #[arg(short, long, global = true, env = "WEBGATEWAY_ID", value_name = "KEY_ID")]
    pub(crate) id: Option<String>,
    /// The private key file, such as user1.priv
    #[arg(short, long, global = true, env = "WEBGATEWAY_KEY", value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// The profile, saved by `gwctl login`, for URL, id and key that are not given [default: the file's `default`]
    #[arg(long, global = true, env = "WEBGATEWAY_PROFILE", value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Retry for this long while the gateway cannot be reached or is unavailable; 0s disables retries
    #[arg(long, global = true, env = "WEBGATEWAY_RETRY_FOR", value_name = "DURATION", default_value = "5s")]
    #[arg(value_parser = super::wait::parse_duration)]
    pub(crate) retry_for: Duration,
    /// Print each request with its signature base, and each response, on stderr
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// Use colours; `auto` uses them on a terminal unless NO_COLOR is set
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, value_name = "WHEN")]
    pub(crate) color: ColorChoice,
    /// The output format; with json or yaml, errors and warnings are JSON lines on stderr
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
}

impl Global {
    /// Returns the given URL or the default.
    pub(crate) fn url(&self) -> &str {
        self.url.as_deref().unwrap_or("http://localhost:8080/rpc")
    }
}

/// The output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Text for people
    Table,
    /// Text for people, with more columns
    Wide,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

impl Format {
    /// Returns whether the output is text for people.
    pub(crate) const fn is_text(self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }
}
