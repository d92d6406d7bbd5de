//! The command line's syntax: commands, flags, variables and their help.

mod admin;
mod audit;
mod global;
mod lists;
mod nodes;
mod options;
mod routes;
mod shell;
mod wait;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use self::admin::{Admin, Quota, Suspend, User, UserFilter};
pub(crate) use self::audit::Audit;
pub(crate) use self::global::{Format, Global};
pub(crate) use self::lists::{ListLimit, Mode, RouteFilter};
pub(crate) use self::nodes::{Invite, Nodes};
pub(crate) use self::options::OptionError;
pub(crate) use self::routes::{Apply, Create, Route, Routes, Update};
pub(crate) use self::shell::{Completions, Manual, Shell};
pub(crate) use self::wait::Wait;

/// The text below the help: the first steps, and the exit codes.
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
    /// Print what a shell reads to complete commands, flags and route ids
    Completions(Completions),
    /// Print the manual page, or write those of all commands
    Man(Manual),
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

/// `gwctl certificates …`
#[derive(Debug, Subcommand)]
pub(crate) enum Certificates {
    /// List the certificates of one's own routes; the admin's list has all
    List(ListLimit),
    /// Show one certificate: its state, the next attempt, and why the last one failed
    Get(Certificate),
    /// Have one certificate renewed now
    Renew(Certificate),
    /// Print the root of the gateway's `internal` CA, in PEM
    Root,
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

/// The certificate that is meant.
#[derive(Debug, Args)]
pub(crate) struct Certificate {
    /// The certificate's id, its first host, as `gwctl certificates list` shows it
    #[arg(short, long, value_name = "HOST")]
    pub(crate) certificate: String,
}

#[cfg(test)]
mod tests;
