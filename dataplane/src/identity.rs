//! Who this node is towards a controlplane far away: its key, its certificate, and whom it trusts.

mod certificate;
mod state_dir;
mod tls;

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

pub(crate) use self::certificate::{CertificateRequest, Identity, IssuedCertificate, NodeCertificateError};
pub(crate) use self::state_dir::{StateDir, StateDirError};
pub(crate) use self::tls::{ClientConfigError, client_config, is_validity_error, is_wrong_ca, join_config};

/// Who this node is now, if it has joined. Clones are the same.
#[derive(Clone)]
pub(crate) struct IdentityStore {
    held: Arc<ArcSwapOption<Identity>>,
    kept: StateDir,
}

impl IdentityStore {
    /// What is kept in the state folder.
    pub(crate) fn load(folder: &Path) -> Result<Self, StateDirError> {
        let kept = StateDir::new(folder);
        let held = kept.load()?.map(Arc::new);
        Ok(Self { held: Arc::new(ArcSwapOption::new(held)), kept })
    }

    /// Who it is.
    #[must_use]
    pub(crate) fn get(&self) -> Option<Arc<Identity>> {
        self.held.load_full()
    }

    /// Keeps a renewed identity, on the disk first.
    pub(crate) fn replace(&self, identity: Identity) -> Result<(), StateDirError> {
        self.kept.save(&identity)?;
        self.held.store(Some(Arc::new(identity)));
        Ok(())
    }
}
