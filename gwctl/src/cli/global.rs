//! The flags of every command.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ColorChoice, ValueEnum};

/// The flags of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The API's URL [default: http://localhost:8080/rpc]
    #[arg(short, long, global = true, env = "WEBGATEWAY_URL")]
    pub(crate) url: Option<String>,
    /// The key's id with the operator, such as user1.pub [default: the key file's name with .pub]
    #[arg(short, long, global = true, env = "WEBGATEWAY_ID", value_name = "KEY_ID")]
    pub(crate) id: Option<String>,
    /// The private key's file, such as user1.priv
    #[arg(short, long, global = true, env = "WEBGATEWAY_KEY", value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// What `gwctl login` kept under this name; it says what is not given [default: the file's `default`]
    #[arg(long, global = true, env = "WEBGATEWAY_PROFILE", value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// How long to go on trying while the gateway cannot be reached or is not available; 0s for once
    #[arg(long, global = true, env = "WEBGATEWAY_RETRY_FOR", value_name = "TIME", default_value = "5s")]
    #[arg(value_parser = super::wait::duration)]
    pub(crate) retry_for: Duration,
    /// Show the request, what was signed, and the response on stderr
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// When to use colours; `auto` is on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, value_name = "WHEN")]
    pub(crate) color: ColorChoice,
    /// How to print the answer; with json or yaml, errors and warnings are JSON lines on stderr
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
}

impl Global {
    /// The API's URL as it was given.
    pub(crate) fn url(&self) -> &str {
        self.url.as_deref().unwrap_or("http://localhost:8080/rpc")
    }
}

/// How answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// For programs
    Json,
    /// For both
    Yaml,
}
