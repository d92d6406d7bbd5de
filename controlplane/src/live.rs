//! The parts of the running process that a reload of the configuration changes.

use std::sync::Arc;

use arc_swap::ArcSwap;
use thiserror::Error;
use webgateway_proto::model::Host;

use crate::certs::preflight::PreflightChecker;
use crate::config::{LiveConfig, PreflightConfig};
use crate::dns::resolver::{Resolver, ResolverError};
use crate::dns::zone::Zone;
use crate::domain::Quotas;
use crate::keys::{KeyStore, KeyStoreError};

/// The parts that a reload changes.
pub(crate) struct LiveParts {
    /// The quotas, whose defaults are configured.
    pub quotas: Quotas,
    /// The store of public keys.
    pub keys: KeyStore,
    /// The preflight checker; `None` if neither certificates nor the proof of hosts need it.
    pub preflight: Option<SharedPreflightChecker>,
}

/// A preflight checker that a reload can replace. Clones share the current checker.
#[derive(Clone)]
pub(crate) struct SharedPreflightChecker {
    zone: Zone,
    base: Host,
    current: Arc<ArcSwap<PreflightChecker>>,
}

/// A new configuration cannot be applied to the running process.
#[derive(Debug, Error)]
pub enum ReloadError {
    /// The configured key store cannot be opened.
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    /// A resolver for the configured name servers cannot be created.
    #[error(transparent)]
    Resolver(#[from] ResolverError),
}

impl LiveParts {
    /// Applies a configuration completely. Changes nothing if it returns an error.
    pub(crate) fn apply(&self, live: &LiveConfig) -> Result<(), ReloadError> {
        let keys = self.keys.open_if_changed(&live.keys)?;
        let checker = self.preflight.as_ref().map(|shared| shared.build(&live.preflight)).transpose()?;
        if let Some(keys) = keys {
            self.keys.replace(keys);
        }
        if let (Some(shared), Some(checker)) = (&self.preflight, checker) {
            shared.current.store(Arc::new(checker));
        }
        self.quotas.set_defaults(live.quotas);
        Ok(())
    }
}

impl SharedPreflightChecker {
    /// Creates a checker for a gateway at `base` that serves the DNS zone `zone`.
    pub(crate) fn new(config: &PreflightConfig, zone: Zone, base: Host) -> Result<Self, ResolverError> {
        let current = Arc::new(ArcSwap::from_pointee(build_checker(config, &zone, &base)?));
        Ok(Self { zone, base, current })
    }

    /// Returns a shared reference to the current checker, which a reload replaces.
    pub(crate) fn current(&self) -> Arc<ArcSwap<PreflightChecker>> {
        Arc::clone(&self.current)
    }

    fn build(&self, config: &PreflightConfig) -> Result<PreflightChecker, ResolverError> {
        build_checker(config, &self.zone, &self.base)
    }
}

fn build_checker(
    config: &PreflightConfig,
    zone: &Zone,
    base: &Host,
) -> Result<PreflightChecker, ResolverError> {
    let resolver = Resolver::new(&config.resolvers)?;
    let checker = PreflightChecker::new(resolver, zone.clone(), base.clone(), &config.public_ip);
    Ok(checker.with_enforcement(config.is_enforced))
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

    async fn passes_preflight(parts: &LiveParts) -> bool {
        let checker = parts.preflight.as_ref().unwrap().current().load_full();
        matches!(checker.preflight(&Host::parse(APP).unwrap(), &[]).await, Preflight::Ready(_))
    }

    fn folder(dir: &Path, name: &str) -> KeySource {
        let path = dir.join(name);
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join(format!("{name}.pub")), PrivateKey::from_seed(&[1; 32]).public().to_pem())
            .unwrap();
        KeySource::Directory(path)
    }

    #[tokio::test]
    async fn a_configuration_is_applied_completely_or_not_at_all() {
        let dir = TempDir::new().unwrap();
        let base = Host::parse("gw.example").unwrap();
        let addresses: [&[ZoneEntry]; 2] = [&[(APP, "A", "192.0.2.1")], &[(APP, "A", "192.0.2.2")]];
        let name_servers =
            [serve(&[("example.org", addresses[0])]).await, serve(&[("example.org", addresses[1])]).await];
        let config = |server: usize, public_ip: &str, is_enforced| PreflightConfig {
            resolvers: vec![name_servers[server].address],
            public_ip: vec![public_ip.parse().unwrap()],
            is_enforced,
        };
        let live = |keys: &KeySource, preflight| LiveConfig {
            keys: keys.clone(),
            quotas: Quota::default(),
            preflight,
        };
        let [one, two] = ["one", "two"].map(|name| folder(dir.path(), name));
        let parts = LiveParts {
            quotas: Quotas::default(),
            keys: KeyStore::open(&one).unwrap(),
            preflight: Some(
                SharedPreflightChecker::new(&config(0, "192.0.2.1", true), Zone::new(&base).unwrap(), base)
                    .unwrap(),
            ),
        };
        assert!(passes_preflight(&parts).await && has_key(&parts, "one.pub").await);
        let missing = KeySource::Directory(dir.path().join("missing"));
        assert!(parts.apply(&live(&missing, config(1, "192.0.2.1", true))).is_err());
        assert!(passes_preflight(&parts).await && has_key(&parts, "one.pub").await, "nothing was applied");
        for (preflight, expected) in [
            (config(1, "192.0.2.1", true), false),
            (config(1, "192.0.2.2", true), true),
            (config(0, "192.0.2.2", true), false),
            (config(0, "192.0.2.2", false), true),
        ] {
            parts.apply(&live(&two, preflight.clone())).unwrap();
            assert_eq!(passes_preflight(&parts).await, expected, "{preflight:?}");
        }
        assert!(has_key(&parts, "two.pub").await && !has_key(&parts, "one.pub").await);
    }
}
