//! The parts that a reload changes while the process runs.

use std::sync::Arc;

use arc_swap::ArcSwap;
use thiserror::Error;
use webgateway_proto::model::Host;

use crate::certs::preflight::PreflightChecker;
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
    /// The preflight of hosts; the internal CA needs none.
    pub preflight: Option<LivePreflight>,
}

/// The preflight of hosts, of which there may be another after a reload.
#[derive(Clone)]
pub(crate) struct LivePreflight {
    zone: Zone,
    base: Host,
    current: Arc<ArcSwap<PreflightChecker>>,
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
        let preflight = self.preflight.as_ref().map(|preflight| preflight.other(&live.lookup)).transpose()?;
        if let Some(keys) = keys {
            self.keys.replace(keys);
        }
        if let (Some(held), Some(preflight)) = (&self.preflight, preflight) {
            held.current.store(Arc::new(preflight));
        }
        self.quotas.set_defaults(live.quotas);
        Ok(())
    }
}

impl LivePreflight {
    /// Makes the preflight of hosts that are not in `zone`, the one of `base`.
    pub(crate) fn new(lookup: &Lookup, zone: Zone, base: Host) -> Result<Self, ResolverError> {
        let current = Arc::new(ArcSwap::from_pointee(preflight(lookup, &zone, &base)?));
        Ok(Self { zone, base, current })
    }

    /// Returns the preflight in use, by reference: it may be another one later.
    pub(crate) fn current(&self) -> Arc<ArcSwap<PreflightChecker>> {
        Arc::clone(&self.current)
    }

    fn other(&self, lookup: &Lookup) -> Result<PreflightChecker, ResolverError> {
        preflight(lookup, &self.zone, &self.base)
    }
}

fn preflight(lookup: &Lookup, zone: &Zone, base: &Host) -> Result<PreflightChecker, ResolverError> {
    let resolver = Resolver::new(&lookup.resolvers)?;
    let preflight = PreflightChecker::new(resolver, zone.clone(), base.clone(), &lookup.public_ip);
    Ok(preflight.with_enforcement(lookup.preflight))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tempfile::TempDir;
    use webgateway_proto::httpsig::PrivateKey;
    use webgateway_proto::model::Quota;

    use super::*;
    use crate::certs::preflight::Preflight;
    use crate::config::KeySource;
    use crate::dns::sample::{ZoneEntry, serve};

    const APP: &str = "app.example.org";

    async fn has_key(parts: &LiveParts, name: &str) -> bool {
        parts.keys.find(&name.parse().unwrap()).await.unwrap().is_some()
    }

    async fn leads_here(parts: &LiveParts) -> bool {
        let preflight = parts.preflight.as_ref().unwrap().current().load_full();
        matches!(preflight.preflight(&Host::parse(APP).unwrap(), &[]).await, Preflight::Ready(_))
    }

    fn folder(dir: &Path, name: &str) -> KeySource {
        let path = dir.join(name);
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join(format!("{name}.pub")), PrivateKey::from_seed(&[1; 32]).public().to_pem())
            .unwrap();
        KeySource::Directory(path)
    }

    #[tokio::test]
    async fn all_of_a_configuration_is_taken_or_nothing() {
        let dir = TempDir::new().unwrap();
        let base = Host::parse("gw.example").unwrap();
        let addresses: [&[ZoneEntry]; 2] = [&[(APP, "A", "192.0.2.1")], &[(APP, "A", "192.0.2.2")]];
        let names =
            [serve(&[("example.org", addresses[0])]).await, serve(&[("example.org", addresses[1])]).await];
        let lookup = |server: usize, public_ip: &str, preflight| Lookup {
            resolvers: vec![names[server].address],
            public_ip: vec![public_ip.parse().unwrap()],
            preflight,
        };
        let live = |keys: &KeySource, lookup| Live { keys: keys.clone(), quotas: Quota::default(), lookup };
        let [one, two] = ["one", "two"].map(|name| folder(dir.path(), name));
        let parts = LiveParts {
            quotas: Quotas::default(),
            keys: KeyStore::open(&one).unwrap(),
            preflight: Some(
                LivePreflight::new(&lookup(0, "192.0.2.1", true), Zone::new(&base).unwrap(), base).unwrap(),
            ),
        };
        assert!(leads_here(&parts).await && has_key(&parts, "one.pub").await);
        let missing = KeySource::Directory(dir.path().join("missing"));
        assert!(parts.apply(&live(&missing, lookup(1, "192.0.2.1", true))).is_err());
        assert!(leads_here(&parts).await && has_key(&parts, "one.pub").await, "nothing of it");
        for (lookup, expected) in [
            (lookup(1, "192.0.2.1", true), false),
            (lookup(1, "192.0.2.2", true), true),
            (lookup(0, "192.0.2.2", true), false),
            (lookup(0, "192.0.2.2", false), true),
        ] {
            parts.apply(&live(&two, lookup.clone())).unwrap();
            assert_eq!(leads_here(&parts).await, expected, "{lookup:?}");
        }
        assert!(has_key(&parts, "two.pub").await && !has_key(&parts, "one.pub").await);
    }
}
