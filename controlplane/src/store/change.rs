//! What became of the resources on the feed, as the store tells it.

use std::sync::Arc;

use webgateway_proto::feed::{Resource, ResourceName};

/// What became of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is like this now.
    Put(Arc<Resource>),
    /// It is gone.
    Remove {
        /// Whether its connections are cut at once.
        at_once: bool,
    },
}

/// One resource that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResourceChange {
    /// Its name.
    pub name: ResourceName,
    /// The revision of its last change.
    pub version: u64,
    /// What became of it.
    pub change: Change,
}

/// All that changed between two revisions, each resource once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChangeSet {
    /// The revision they lead to.
    pub version: u64,
    /// What changed, in no order.
    pub changed: Vec<ResourceChange>,
}
