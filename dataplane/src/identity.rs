//! This node's identity towards a remote controlplane: its key, its certificate and the CA that it trusts.

mod certificate;
mod state_dir;
mod tls;

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

pub(crate) use self::certificate::{CertificateRequest, Identity, IssuedCertificate, NodeCertificateError};
pub(crate) use self::state_dir::{StateDir, StateDirError};
pub(crate) use self::tls::{ClientConfigError, client_config, is_validity_error, is_wrong_ca, join_config};

/// The current identity of this node, if it has joined, in memory and on disk. Clones share it.
#[derive(Clone)]
pub(crate) struct IdentityStore {
    current: Arc<ArcSwapOption<Identity>>,
    state_dir: StateDir,
}

impl IdentityStore {
    /// Loads the identity from the state folder.
    pub(crate) fn load(folder: &Path) -> Result<Self, StateDirError> {
        let state_dir = StateDir::new(folder);
        let current = state_dir.load()?.map(Arc::new);
        Ok(Self { current: Arc::new(ArcSwapOption::new(current)), state_dir })
    }

    /// Returns the current identity; `None` if this node has not joined.
    #[must_use]
    pub(crate) fn get(&self) -> Option<Arc<Identity>> {
        self.current.load_full()
    }

    /// Replaces the identity with a renewed one, on disk before in memory.
    pub(crate) fn replace(&self, identity: Identity) -> Result<(), StateDirError> {
        self.state_dir.save(&identity)?;
        self.current.store(Some(Arc::new(identity)));
        Ok(())
    }
}
