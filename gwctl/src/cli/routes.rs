//! The syntax of `gwctl routes …`

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgGroup, Args, Subcommand};

use super::lists::RouteFilter;
use super::options::{Reset, RouteOptionFlags};
use super::wait::Wait;

/// `gwctl routes …`
#[derive(Debug, Subcommand)]
pub(crate) enum Routes {
    /// Create a route
    Create(Create),
    /// List one's own routes; the admin's list has all
    List(RouteFilter),
    /// Show one route
    Get(Route),
    /// Change one route; what is left out stays as it is
    Update(Update),
    /// Delete one route
    Delete(Delete),
    /// Make one's own routes what a file says: show the plan, ask, and do it
    Apply(Apply),
    /// Tell how a host looks from every node, and what is wrong
    Explain {
        /// The host, such as myapp.gateway.example.com
        host: String,
    },
}

/// The route that is meant.
#[derive(Debug, Args)]
pub(crate) struct Route {
    /// The route's id, as `gwctl routes list` shows it
    #[arg(short, long, value_name = "ID")]
    pub(crate) route: String,
}

/// The flags of `gwctl routes create`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("host").args(["fqdn", "subdomain"]).required(true))]
pub(crate) struct Create {
    /// A host name of your own, such as app.example.org
    #[arg(short, long, value_name = "HOST")]
    pub(crate) fqdn: Option<String>,
    /// A name below the gateway's base domain, such as myapp
    #[arg(short, long, value_name = "NAME")]
    pub(crate) subdomain: Option<String>,
    /// Where it goes, such as [54f:1::2]:8080, or self:8080 for this machine; repeat it for more
    #[arg(short, long = "backend", required = true, value_name = "ADDRESS")]
    pub(crate) backend: Vec<String>,
    /// Pass TLS through to the backend untouched (needs --fqdn)
    #[arg(short, long)]
    pub(crate) tls_pass: bool,
    /// Check everything and show the route as it would be; do nothing
    #[arg(long, conflicts_with = "wait")]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) overlay: Overlay,
    #[command(flatten)]
    pub(crate) wait: Wait,
    #[command(flatten)]
    pub(crate) options: RouteOptionFlags,
}

/// The flags of `gwctl routes apply`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Apply {
    /// The routes in YAML or JSON, as `gwctl routes list -o yaml` shows them; `-` reads stdin
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Delete one's own routes that are not in the file
    #[arg(long)]
    pub(crate) prune: bool,
    /// Do not ask
    #[arg(short, long, conflicts_with = "dry_run")]
    pub(crate) yes: bool,
    /// Show the plan; do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// The flags of `gwctl routes delete`.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    #[command(flatten)]
    pub(crate) route: Route,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// The flags of `gwctl routes update`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("host").args(["fqdn", "subdomain"]))]
pub(crate) struct Update {
    #[command(flatten)]
    pub(crate) route: Route,
    /// Another host name of your own
    #[arg(short, long, value_name = "HOST")]
    pub(crate) fqdn: Option<String>,
    /// Another name below the gateway's base domain
    #[arg(short, long, value_name = "NAME")]
    pub(crate) subdomain: Option<String>,
    /// All its backends from now on; repeat it for more
    #[arg(short, long = "backend", value_name = "ADDRESS")]
    pub(crate) backend: Vec<String>,
    /// Pass TLS through to the backend (-t), or terminate it (-t=false)
    #[arg(short, long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub(crate) tls_pass: Option<bool>,
    /// Check everything and show the route as it would be; do nothing
    #[arg(long, conflicts_with = "wait")]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) overlay: Overlay,
    #[command(flatten)]
    pub(crate) wait: Wait,
    #[command(flatten)]
    pub(crate) reset: Reset,
    #[command(flatten)]
    pub(crate) options: RouteOptionFlags,
}

/// What `self` among the backends stands for.
#[derive(Debug, Args)]
pub(crate) struct Overlay {
    /// Where this machine's Mycelium daemon tells its address, for `-b self:PORT` [default: http://127.0.0.1:8989]
    #[arg(long, env = "MYCELIUM_API", value_name = "URL")]
    pub(crate) mycelium_api: Option<String>,
}
