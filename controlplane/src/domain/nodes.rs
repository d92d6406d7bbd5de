//! What is known of the nodes, for whoever asks.

use webgateway_proto::api::NodeView;

/// Knows the nodes that are connected, or were.
pub trait NodeDirectory: Send + Sync {
    /// Every node, by name.
    fn nodes(&self) -> Vec<NodeView>;
}
