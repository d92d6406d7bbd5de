//! Changes of feed resources, as the store reports them.

use std::sync::Arc;

use webgateway_proto::feed::{Resource, ResourceName};

/// The change of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// The resource was created or replaced.
    Put(Arc<Resource>),
    /// The resource was removed.
    Remove {
        /// True if its connections are to be closed immediately.
        at_once: bool,
    },
}

/// A resource and its change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResourceChange {
    /// The resource's name.
    pub name: ResourceName,
    /// The revision of its last change.
    pub version: u64,
    /// The change.
    pub change: Change,
}

/// All changes between two revisions. Contains each resource at most once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChangeSet {
    /// The revision after the changes.
    pub version: u64,
    /// The changed resources, in no particular order.
    pub changed: Vec<ResourceChange>,
}
