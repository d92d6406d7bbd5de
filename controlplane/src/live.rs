//! The parts that a reload changes while the process runs.

use std::sync::Arc;

use arc_swap::ArcSwap;
use thiserror::Error;
use webgateway_proto::model::Host;

use crate::certs::preflight::Inspector;
use crate::config::{Live, Lookup};
use crate::dns::resolver::{Resolver, ResolverError};
use crate::dns::zone::Zone;
use crate::domain::Quotas;
use crate::keys::{KeyStore, KeyStoreError};

/// The parts that a reload changes.
pub(crate) struct LiveParts {
    /// The default quotas.
    pub quotas: Quotas,
    /// The store of public keys.
    pub keys: KeyStore,
    /// The inspector of hosts; the internal CA needs none.
    pub inspector: Option<LiveInspector>,
}

/// The inspector of hosts, of which there may be another after a reload.
#[derive(Clone)]
pub(crate) struct LiveInspector {
    zone: Zone,
    base: Host,
    current: Arc<ArcSwap<Inspector>>,
}

/// A configuration cannot be taken while the process runs.
#[derive(Debug, Error)]
pub enum ReloadError {
    /// The key store that it names cannot be opened.
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    /// The name servers that it names cannot be asked.
    #[error(transparent)]
    Resolver(#[from] ResolverError),
}

impl LiveParts {
    /// Takes all that a configuration says, or nothing of it.
    pub(crate) fn apply(&self, live: &Live) -> Result<(), ReloadError> {
        let keys = self.keys.open_other(&live.keys)?;
        let inspector = self.inspector.as_ref().map(|inspector| inspector.other(&live.lookup)).transpose()?;
        if let Some(keys) = keys {
            self.keys.replace(keys);
        }
        if let (Some(held), Some(inspector)) = (&self.inspector, inspector) {
            held.current.store(Arc::new(inspector));
        }
        self.quotas.set_defaults(live.quotas);
        Ok(())
    }
}

impl LiveInspector {
    /// Makes the inspector of hosts that are not in `zone`, the one of `base`.
    pub(crate) fn new(lookup: &Lookup, zone: Zone, base: Host) -> Result<Self, ResolverError> {
        let current = Arc::new(ArcSwap::from_pointee(inspector(lookup, &zone, &base)?));
        Ok(Self { zone, base, current })
    }

    /// Returns the inspector in use, by reference: it may be another one later.
    pub(crate) fn current(&self) -> Arc<ArcSwap<Inspector>> {
        Arc::clone(&self.current)
    }

    fn other(&self, lookup: &Lookup) -> Result<Inspector, ResolverError> {
        inspector(lookup, &self.zone, &self.base)
    }
}

fn inspector(lookup: &Lookup, zone: &Zone, base: &Host) -> Result<Inspector, ResolverError> {
    let resolver = Resolver::new(&lookup.resolvers)?;
    let inspector = Inspector::new(resolver, zone.clone(), base.clone(), &lookup.public_ip);
    Ok(inspector.decides(lookup.preflight))
}
