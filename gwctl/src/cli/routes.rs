//! The syntax of `gwctl routes …`.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgGroup, Args, Subcommand};

use super::lists::RouteFilter;
use super::options::{ResetFlags, RouteOptionFlags};
use super::traffic::{Logs, Stats};
use super::wait::WaitFlag;

/// The commands of `gwctl routes`.
#[derive(Debug, Subcommand)]
pub(crate) enum Routes {
    /// Create a route
    Create(Create),
    /// List your routes (admin: all routes)
    List(RouteFilter),
    /// Show one route
    Get(RouteArg),
    /// Change one route; settings that are not given keep their values
    Update(Update),
    /// Delete one route
    Delete(Delete),
    /// Create, change and delete your routes to match a file, after you confirm the plan
    Apply(Apply),
    /// Show the state of a host on every node, and diagnose problems
    Explain {
        /// The host, such as myapp.gateway.example.com
        host: String,
    },
    /// Show the traffic of your routes in the last minute, hour and day (admin: of all routes)
    Stats(Stats),
    /// Follow the requests of a route on all nodes
    Logs(Logs),
}

impl Routes {
    /// Returns whether the command asks for passwords.
    pub(crate) fn asks_for_passwords(&self) -> bool {
        match self {
            Self::Create(flags) => flags.options.asks_for_passwords(),
            Self::Update(flags) => flags.options.asks_for_passwords(),
            Self::List(_)
            | Self::Get(_)
            | Self::Delete(_)
            | Self::Apply(_)
            | Self::Explain { .. }
            | Self::Stats(_)
            | Self::Logs(_) => false,
        }
    }
}

/// The argument that selects a route.
#[derive(Debug, Args)]
pub(crate) struct RouteArg {
    /// The route: its host, or its id as shown by `gwctl routes list -o wide`
    #[arg(value_name = "ROUTE", required_unless_present = "route_flag")]
    route: Option<String>,
    /// The same as the argument ROUTE
    #[arg(id = "route_flag", short, long = "route", value_name = "ROUTE", conflicts_with = "route")]
    flag: Option<String>,
}

impl RouteArg {
    /// Returns the host or id.
    pub(crate) fn text(&self) -> &str {
        self.route.as_deref().or(self.flag.as_deref()).unwrap_or_default()
    }
}

/// The flags of `gwctl routes create`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("host").args(["fqdn", "subdomain"]).required(true))]
pub(crate) struct Create {
    /// A host name of your own, such as app.example.org
    #[arg(short, long, value_name = "HOST")]
    pub(crate) fqdn: Option<String>,
    /// A subdomain of the gateway's base domain, such as myapp
    #[arg(short, long, value_name = "NAME")]
    pub(crate) subdomain: Option<String>,
    /// A backend's address, such as [54f:1::2]:8080, or self:8080 for this machine; repeatable
    #[arg(short, long = "backend", required = true, value_name = "ADDRESS")]
    pub(crate) backend: Vec<String>,
    /// Pass TLS through to the backend without terminating it (requires --fqdn)
    #[arg(short, long)]
    pub(crate) tls_pass: bool,
    /// Validate and show the resulting route without storing it
    #[arg(long, conflicts_with = "wait")]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) mycelium: MyceliumFlags,
    #[command(flatten)]
    pub(crate) wait: WaitFlag,
    #[command(flatten)]
    pub(crate) options: Box<RouteOptionFlags>,
}

/// The flags of `gwctl routes apply`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Apply {
    /// The routes in YAML or JSON, as printed by `gwctl routes list -o yaml`; `-` reads from stdin
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Delete your routes that are not in the file
    #[arg(long)]
    pub(crate) prune: bool,
    /// Apply the plan without confirmation
    #[arg(short, long, conflicts_with = "dry_run")]
    pub(crate) yes: bool,
    /// Show the plan without applying it
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// The flags of `gwctl routes delete`.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    #[command(flatten)]
    pub(crate) route: RouteArg,
    #[command(flatten)]
    pub(crate) wait: WaitFlag,
}

/// The flags of `gwctl routes update`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("host").args(["fqdn", "subdomain"]))]
pub(crate) struct Update {
    #[command(flatten)]
    pub(crate) route: RouteArg,
    /// The new host, a host name of your own
    #[arg(short, long, value_name = "HOST")]
    pub(crate) fqdn: Option<String>,
    /// The new host, a subdomain of the gateway's base domain
    #[arg(short, long, value_name = "NAME")]
    pub(crate) subdomain: Option<String>,
    /// A backend's address; repeatable. The given backends replace all current ones
    #[arg(short, long = "backend", value_name = "ADDRESS")]
    pub(crate) backend: Vec<String>,
    /// Pass TLS through to the backend (-t), or terminate it (-t=false)
    #[arg(short, long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub(crate) tls_pass: Option<bool>,
    /// Validate and show the resulting route without storing it
    #[arg(long, conflicts_with = "wait")]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) mycelium: MyceliumFlags,
    #[command(flatten)]
    pub(crate) wait: WaitFlag,
    #[command(flatten)]
    pub(crate) reset: ResetFlags,
    #[command(flatten)]
    pub(crate) options: Box<RouteOptionFlags>,
}

/// The flag for the lookup of this machine's overlay address.
#[derive(Debug, Args)]
pub(crate) struct MyceliumFlags {
    /// The URL of this machine's Mycelium API, for `-b self:PORT` [default: http://127.0.0.1:8989]
    #[arg(long, env = "MYCELIUM_API", value_name = "URL")]
    pub(crate) mycelium_api: Option<String>,
}
