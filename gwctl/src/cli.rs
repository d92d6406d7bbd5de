//! The syntax of the command line: commands, flags and environment variables with their help.

mod admin;
mod audit;
mod examples;
mod global;
mod lists;
mod nodes;
mod options;
mod routes;
mod shell;
mod wait;

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};

pub(crate) use self::admin::{Admin, Quota, Suspend, UserArg, UserFilter};
pub(crate) use self::audit::Audit;
pub(crate) use self::global::{Format, Global};
pub(crate) use self::lists::{ListLimit, Mode, RouteFilter};
pub(crate) use self::nodes::{Invite, Nodes};
pub(crate) use self::options::OptionError;
pub(crate) use self::routes::{Apply, Create, RouteArg, Routes, Update};
pub(crate) use self::shell::{Completions, Manual, Shell};
pub(crate) use self::wait::WaitFlag;

/// The text after the help: first steps and exit codes.
pub(crate) const AFTER_HELP: &str = "\
Getting started:
  gwctl keys generate user1          generate a key pair; give user1.pub to the operator
  gwctl -i user1.pub -k user1.priv routes create -s myapp -b '[54f:1::2]:8080'

Exit codes:
  0  success
  1  unexpected response from the gateway, or an error on this machine
  2  invalid flag, value or key file
  3  the gateway cannot be reached or is unavailable
  4  not authenticated: the gateway does not accept the signature or the key
  5  forbidden: the key is not allowed to do this
  6  not found
  7  conflict, such as a host that is taken or a file that already exists
  8  invalid params: the gateway rejects a value
  9  with --wait: the change is stored, but not applied on every node";

/// The complete command line.
#[derive(Debug, Parser)]
#[command(name = "gwctl", version, about = "Manage a webgateway: routes, certificates, users and keys")]
#[command(after_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Returns the definition of the command line, with an example in the help of each command.
pub(crate) fn command() -> clap::Command {
    examples::add_to(Cli::command())
}

/// The command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create, show, change and delete routes
    #[command(subcommand)]
    Routes(Routes),
    /// Show and renew the TLS certificates of routes
    #[command(subcommand)]
    Certificates(Certificates),
    /// Manage users: suspensions and quotas (admin)
    #[command(subcommand)]
    Admin(Admin),
    /// List, invite, drain and remove the gateway's nodes (admin)
    #[command(subcommand)]
    Nodes(Nodes),
    /// Show, export and verify the audit log of all changes
    #[command(subcommand)]
    Audit(Audit),
    /// Check the health of the gateway
    Health,
    /// Show the versions of gwctl and, if it is reachable, of the controlplane
    Version,
    /// Generate keys
    #[command(subcommand)]
    Keys(Keys),
    /// Check that the gateway accepts the key, and save URL, id and key file as a profile for later commands
    Login,
    /// Convert the caddy.json of webgateway's predecessor, a Caddy module, to webgateway's configuration files
    Import(Import),
    /// Print the script with which a shell completes commands, flags and route ids
    Completions(Completions),
    /// Print the manual page, or write the pages of all commands to files
    Man(Manual),
}

/// The flags of `gwctl import`.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The predecessor's configuration, such as caddy.json; `-` reads from stdin
    pub(crate) file: PathBuf,
    /// The directory in which controlplane.toml and dataplane.toml are created
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) out: PathBuf,
}

/// The commands of `gwctl certificates`.
#[derive(Debug, Subcommand)]
pub(crate) enum Certificates {
    /// List the certificates of your routes (admin: of all routes)
    List(ListLimit),
    /// Show one certificate: its state, the next attempt to issue it, and the last error
    Get(CertificateArg),
    /// Renew one certificate now
    Renew(CertificateArg),
    /// Print the root certificate of the gateway's `internal` CA, in PEM
    Root,
}

/// The commands of `gwctl keys`.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Generate an ed25519 key pair: NAME.priv and NAME.pub
    Generate {
        /// The name of the files without their extension, such as user1
        name: PathBuf,
    },
}

/// The argument that selects a certificate.
#[derive(Debug, Args)]
pub(crate) struct CertificateArg {
    /// The certificate's id, which is its first host, as shown by `gwctl certificates list`
    #[arg(short, long, value_name = "HOST")]
    pub(crate) certificate: String,
}

#[cfg(test)]
mod tests;
