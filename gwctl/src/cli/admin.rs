//! The flags of `gwctl admin …`.

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};

use super::wait::Wait;

/// `gwctl admin …`
#[derive(Debug, Subcommand)]
pub(crate) enum Admin {
    /// Stop serving a user's routes, at once; for a suspended user, change why and how long
    Suspend(Suspend),
    /// Serve them again
    Unsuspend(Unsuspend),
    /// List the users: whether they are suspended, what they have and may have
    Users(UserFilter),
    /// Set how much a user may have; what is left out stays as it is
    Quota(Quota),
}

/// The user that is meant.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("who").args(["name", "user"]).required(true))]
pub(crate) struct User {
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
    pub(crate) user: User,
    /// Why, for the user to read
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// When it ends by itself, such as 2030-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", conflicts_with = "for")]
    pub(crate) until: Option<String>,
    /// After how long it ends by itself, such as 12h or 7d
    #[arg(long, value_name = "TIME", value_parser = super::wait::duration)]
    pub(crate) r#for: Option<Duration>,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// The flags of `gwctl admin unsuspend`.
#[derive(Debug, Args)]
pub(crate) struct Unsuspend {
    #[command(flatten)]
    pub(crate) user: User,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// Which users to list.
#[derive(Debug, Clone, Args)]
pub(crate) struct UserFilter {
    /// Only users who are suspended
    #[arg(long)]
    pub(crate) suspended: bool,
    /// How many users at most [default: all]
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,
}

/// The flags of `gwctl admin quota`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("quotas").args(["routes", "backends", "mutations"]).required(true).multiple(true))]
pub(crate) struct Quota {
    #[command(flatten)]
    pub(crate) user: User,
    /// How many routes: a number, `none` for no limit, or `default` for the gateway's
    #[arg(long, value_name = "N|none|default")]
    pub(crate) routes: Option<String>,
    /// How many backends, in all routes together
    #[arg(long, value_name = "N|none|default")]
    pub(crate) backends: Option<String>,
    /// How many changes in a minute
    #[arg(long, value_name = "N|none|default")]
    pub(crate) mutations: Option<String>,
}
