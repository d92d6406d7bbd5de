//! The command line's syntax: commands, flags, variables and their help.

mod lists;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::lists::{Mode, RouteFilter};

/// What follows the help: how to begin, and the exit codes.
pub(crate) const AFTER_HELP: &str = "\
Begin:
  gwctl keys generate user1          make a key pair; give user1.pub to the operator
  gwctl -i user1.pub -k user1.priv routes create -s myapp -b '[54f:1::2]:8080'

Exit codes:
  0  done
  1  an unexpected answer, or a fault on this machine
  2  a wrong flag, value or key file
  3  the gateway cannot be reached, or is not available now
  4  not authenticated: the signature or key was not accepted
  5  forbidden: the key may not do that
  6  not found
  7  conflict: the host is taken, or the file is there already
  8  invalid params: the gateway refuses a value
  9  done, but not on every node (--wait)";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "gwctl", version, about = "Manage a webgateway: routes, certificates, users and keys")]
#[command(after_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

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
    /// Show the request, what was signed, and the response on stderr
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
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

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create, show, change and delete routes
    #[command(subcommand)]
    Routes(Routes),
    /// Show and renew the certificates that routes need
    #[command(subcommand)]
    Certificates(Certificates),
    /// What only the operator's admin key may do
    #[command(subcommand)]
    Admin(Admin),
    /// List, invite, drain and remove the gateway's nodes (admin)
    #[command(subcommand)]
    Nodes(Nodes),
    /// Show, export and check the record of all changes
    #[command(subcommand)]
    Audit(Audit),
    /// Say whether the gateway works
    Health,
    /// Show the version of gwctl, and of the controlplane if it is reachable
    Version,
    /// Make keys
    #[command(subcommand)]
    Keys(Keys),
    /// Check that the gateway takes the key, and keep both as a profile: later commands need no flags
    Login,
    /// Turn the predecessor's caddy.json into controlplane.toml and dataplane.toml
    Import(Import),
}

/// The flags of `gwctl import`.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The predecessor's configuration, such as caddy.json; `-` reads it from stdin
    pub(crate) file: PathBuf,
    /// Where the two files are written
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) out: PathBuf,
}

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
    /// Tell how a host looks from every node, and what is wrong
    Explain {
        /// The host, such as myapp.gateway.example.org
        host: String,
    },
}

/// Whether to wait for the nodes.
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// Wait until every connected node has the change, for TIMEOUT at most [default TIMEOUT: 30s]
    #[arg(long, value_name = "TIMEOUT", num_args = 0..=1, default_missing_value = "30s")]
    #[arg(value_parser = humantime::parse_duration)]
    pub(crate) wait: Option<Duration>,
}

/// The flags of `gwctl routes delete`.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    #[command(flatten)]
    pub(crate) route: Route,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// `gwctl certificates …`
#[derive(Debug, Subcommand)]
pub(crate) enum Certificates {
    /// List the certificates of one's own routes; the admin's list has all
    List,
    /// Show one certificate: its state, the next attempt, and why the last one failed
    Get(Certificate),
    /// Have one certificate renewed now
    Renew(Certificate),
    /// Print the root of the gateway's `internal` CA, in PEM
    Root,
}

/// `gwctl audit …`
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// List what was changed, newest first: one's own changes, the admin's list has all
    List {
        /// How many records, up to 500
        #[arg(short = 'n', long, value_name = "N")]
        limit: Option<u32>,
        /// Only records before the one with this id
        #[arg(long, value_name = "ID")]
        before: Option<u64>,
        /// Only what this key asked for
        #[arg(long, value_name = "KEY_ID")]
        caller: Option<String>,
        /// Only what was changed of this, such as route/<id>
        #[arg(long, value_name = "TARGET")]
        target: Option<String>,
    },
    /// Check the whole chain: that nothing was changed or left out, and that each caller signed for it
    Verify {
        /// Check an exported file instead of the gateway; needs no key
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// A hash that an earlier check named as the head: it must be there still
        #[arg(long, value_name = "HASH")]
        head: Option<String>,
    },
    /// Print the whole chain with what was signed, as JSON lines
    Export {
        /// Write it to a new file instead
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// `gwctl admin …`
#[derive(Debug, Subcommand)]
pub(crate) enum Admin {
    /// Stop serving a user's routes, at once
    Suspend(User),
    /// Serve them again
    Unsuspend(User),
}

/// `gwctl nodes …`
#[derive(Debug, Subcommand)]
pub(crate) enum Nodes {
    /// List the nodes: what they hold, how far they are behind, what they could not use
    List,
    /// Make a token by which one new node joins, once
    Invite(Invite),
    /// Have a node drained: it takes no new visitors
    Drain(Drain),
    /// Revoke a node that joined: its stream is cut, its certificate refused
    Remove(Node),
}

/// The node that is meant.
#[derive(Debug, Args)]
pub(crate) struct Node {
    /// The node's name, as `gwctl nodes list` shows it
    pub(crate) name: String,
}

/// The flags of `gwctl nodes drain`.
#[derive(Debug, Args)]
pub(crate) struct Drain {
    #[command(flatten)]
    pub(crate) node: Node,
    /// Let it take visitors again
    #[arg(long)]
    pub(crate) undo: bool,
}

/// The flags of `gwctl nodes invite`.
#[derive(Debug, Args)]
pub(crate) struct Invite {
    /// What the node will be called
    pub(crate) name: String,
    /// Where it finds the controlplane [default: the controlplane's `[feed] address`]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) address: Option<String>,
    /// How long the token is good, such as 30m, 1h or 7d
    #[arg(long, default_value = "1h", value_name = "TIME")]
    pub(crate) ttl: String,
}

/// `gwctl keys …`
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Make an ed25519 key pair: NAME.priv and NAME.pub
    Generate {
        /// The files' name without its ending, such as user1
        name: PathBuf,
    },
}

/// The route that is meant.
#[derive(Debug, Args)]
pub(crate) struct Route {
    /// The route's id, as `gwctl routes list` shows it
    #[arg(short, long, value_name = "ID")]
    pub(crate) route: String,
}

/// The certificate that is meant.
#[derive(Debug, Args)]
pub(crate) struct Certificate {
    /// The certificate's id, its first host, as `gwctl certificates list` shows it
    #[arg(short, long, value_name = "HOST")]
    pub(crate) certificate: String,
}

/// The user that is meant.
#[derive(Debug, Args)]
pub(crate) struct User {
    /// The user's key id, such as user1.pub
    #[arg(long, value_name = "KEY_ID")]
    pub(crate) user: String,
    #[command(flatten)]
    pub(crate) wait: Wait,
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
    /// Where it goes, such as [54f:1::2]:8080; repeat it for more
    #[arg(short, long = "backend", required = true, value_name = "ADDRESS")]
    pub(crate) backend: Vec<String>,
    /// How a backend is chosen
    #[arg(short, long, value_enum, default_value_t = Method::RoundRobin)]
    pub(crate) method: Method,
    /// Pass TLS through to the backend untouched (needs --fqdn)
    #[arg(short, long)]
    pub(crate) tls_pass: bool,
    #[command(flatten)]
    pub(crate) checks: Checks,
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
    /// Another way to choose a backend
    #[arg(short, long, value_enum)]
    pub(crate) method: Option<Method>,
    /// Pass TLS through to the backend (-t), or terminate it (-t=false)
    #[arg(short, long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub(crate) tls_pass: Option<bool>,
    #[command(flatten)]
    pub(crate) checks: Checks,
    #[command(flatten)]
    pub(crate) wait: Wait,
    /// Judge the backends by the traffic alone again
    #[arg(long, conflicts_with = "health")]
    pub(crate) no_health: bool,
}

/// How the backends are checked.
#[derive(Debug, Args)]
pub(crate) struct Checks {
    /// Have every node check the backends: `tcp` connects, a path such as /healthz is asked for with GET
    #[arg(long, value_name = "tcp|PATH")]
    pub(crate) health: Option<String>,
    /// How often, from 1s to 1h [default: 10s]
    #[arg(long, value_name = "TIME", requires = "health", value_parser = humantime::parse_duration)]
    pub(crate) health_interval: Option<Duration>,
    /// How many good checks in a row bring a backend back [default: 2]
    #[arg(long, value_name = "N", requires = "health")]
    pub(crate) health_rise: Option<u32>,
    /// How many bad checks in a row take a backend out [default: 3]
    #[arg(long, value_name = "N", requires = "health")]
    pub(crate) health_fall: Option<u32>,
}

/// How a backend is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Method {
    /// One after the other
    RoundRobin,
    /// Any of them
    Random,
}

#[cfg(test)]
mod tests;
