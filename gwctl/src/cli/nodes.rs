//! The syntax of `gwctl nodes …`.

use clap::{Args, Subcommand};

/// The commands of `gwctl nodes`.
#[derive(Debug, Subcommand)]
pub(crate) enum Nodes {
    /// List the nodes with their versions and lag, and the resources that they rejected
    List,
    /// Create a token with which a new node can join once
    Invite(Invite),
    /// Drain a node: its /readyz fails, so that load balancers send it no new clients
    Drain(Drain),
    /// Remove a node: close its connection to the controlplane and revoke its certificate
    Remove(NodeArg),
}

/// The argument that selects a node.
#[derive(Debug, Args)]
pub(crate) struct NodeArg {
    /// The node's name, as shown by `gwctl nodes list`
    pub(crate) name: String,
}

/// The flags of `gwctl nodes drain`.
#[derive(Debug, Args)]
pub(crate) struct Drain {
    #[command(flatten)]
    pub(crate) node: NodeArg,
    /// End the drain: the node becomes ready again
    #[arg(long)]
    pub(crate) undo: bool,
}

/// The flags of `gwctl nodes invite`.
#[derive(Debug, Args)]
pub(crate) struct Invite {
    /// The name of the new node
    pub(crate) name: String,
    /// The address at which the node connects to the controlplane [default: the controlplane's `[feed] address`]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) address: Option<String>,
    /// The lifetime of the token, such as 30m, 1h or 7d
    #[arg(long, default_value = "1h", value_name = "DURATION")]
    pub(crate) ttl: String,
}
