//! Who this node is towards a controlplane far away: its key, its certificate, and whom it trusts.

mod kept;
mod member;
mod tls;

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

pub(crate) use self::kept::{StateDir, StateFailed};
pub(crate) use self::member::{Granted, Identity, InvalidCertificate, Request};
pub(crate) use self::tls::{NoTls, bootstrap, is_about_time, is_wrong_authority, member};

/// Who this node is now, if it has joined. Clones are the same.
#[derive(Clone)]
pub(crate) struct Current {
    held: Arc<ArcSwapOption<Identity>>,
    kept: StateDir,
}

impl Current {
    /// What is kept in the state folder.
    pub(crate) fn load(folder: &Path) -> Result<Self, StateFailed> {
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
    pub(crate) fn replace(&self, identity: Identity) -> Result<(), StateFailed> {
        self.kept.save(&identity)?;
        self.held.store(Some(Arc::new(identity)));
        Ok(())
    }
}
