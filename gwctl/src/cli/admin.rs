//! The syntax of `gwctl admin …`.

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};

use super::wait::WaitFlag;

/// The commands of `gwctl admin`.
#[derive(Debug, Subcommand)]
pub(crate) enum Admin {
    /// Suspend a user: stop serving the user's routes; suspend again to change reason and end
    Suspend(Suspend),
    /// End a suspension: serve the user's routes again
    Unsuspend(Unsuspend),
    /// List the users with their usage, quotas and suspensions
    Users(UserFilter),
    /// Set a user's quotas; quotas that are not given keep their values
    Quota(Quota),
}

/// The argument that selects a user.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("target").args(["name", "user"]).required(true))]
pub(crate) struct UserArg {
    /// The user's key id, such as user1.pub
    #[arg(value_name = "USER")]
    pub(crate) name: Option<String>,
    /// The same as USER
    #[arg(long, value_name = "KEY_ID")]
    pub(crate) user: Option<String>,
}

/// The flags of `gwctl admin suspend`.
#[derive(Debug, Args)]
pub(crate) struct Suspend {
    #[command(flatten)]
    pub(crate) user: UserArg,
    /// The reason, which the user can read
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// End the suspension at this time, such as 2030-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", conflicts_with = "for")]
    pub(crate) until: Option<String>,
    /// End the suspension after this duration, such as 12h or 7d
    #[arg(long, value_name = "DURATION", value_parser = super::wait::parse_duration)]
    pub(crate) r#for: Option<Duration>,
    #[command(flatten)]
    pub(crate) wait: WaitFlag,
}

/// The flags of `gwctl admin unsuspend`.
#[derive(Debug, Args)]
pub(crate) struct Unsuspend {
    #[command(flatten)]
    pub(crate) user: UserArg,
    #[command(flatten)]
    pub(crate) wait: WaitFlag,
}

/// The flags of `gwctl admin users`.
#[derive(Debug, Clone, Args)]
pub(crate) struct UserFilter {
    /// List only suspended users
    #[arg(long)]
    pub(crate) suspended: bool,
    /// List at most N users [default: all]
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,
}

/// The flags of `gwctl admin quota`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("quotas").args(["routes", "backends", "mutations"]).required(true).multiple(true))]
pub(crate) struct Quota {
    #[command(flatten)]
    pub(crate) user: UserArg,
    /// The maximum number of routes: a number, `none` for no limit, or `default` for the gateway's default
    #[arg(long, value_name = "N|none|default")]
    pub(crate) routes: Option<String>,
    /// The maximum number of backends in all routes together
    #[arg(long, value_name = "N|none|default")]
    pub(crate) backends: Option<String>,
    /// The maximum number of changes per minute
    #[arg(long, value_name = "N|none|default")]
    pub(crate) mutations: Option<String>,
}
