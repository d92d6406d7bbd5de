//! The syntax of `gwctl nodes …`

use clap::{Args, Subcommand};

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
