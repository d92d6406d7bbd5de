//! An issuer over a real store, for tests.

use std::net::TcpListener;
use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use webgateway_proto::model::Host;
use webgateway_seal::SecretKey;

use super::account::AcmeAccounts;
use super::acme::Ca;
use super::issuer::{AcmeIssuer, AcmeIssuerParts};
use super::order::Orders;
use super::preflight::PreflightChecker;
use super::solver::Solver;
use crate::clock::Clock;
use crate::config::CaConfig;
use crate::dns::resolver::Resolver;
use crate::dns::txt::TxtSet;
use crate::dns::zone::Zone;
use crate::feed::challenges::Challenges;
use crate::feed::nodes::Nodes;
use crate::metrics::Metrics;
use crate::store::Store;

/// A store and an issuer that uses it.
pub(super) struct IssuerFixture {
    pub(super) _dir: TempDir,
    pub(super) store: Store,
    pub(super) key: Arc<SecretKey>,
    pub(super) metrics: Metrics,
    pub(super) issuer: AcmeIssuer,
}

pub(super) fn base() -> Host {
    Host::parse("gw.example").unwrap()
}

impl IssuerFixture {
    /// Creates an issuer whose CA cannot be reached.
    pub(super) fn without_a_ca(clock: Clock) -> Self {
        let dir = TempDir::new().unwrap();
        let metrics = Metrics::register(&mut Registry::default());
        let store = Store::open(&dir.path().join("c.db"), metrics.clone()).unwrap();
        let key = Arc::new(SecretKey::new(&[1; 32]).unwrap());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let directory = format!("https://127.0.0.1:{port}/dir");
        let config = CaConfig { directory, root: None, email: None, profile: None, eab: None };
        let cas = vec![Ca::new(config, clock).unwrap()];
        let nodes = Nodes::new(clock, Gauge::default());
        let solver = Solver::new(base(), TxtSet::new(), Challenges::new(store.clone()), nodes);
        let resolver = Resolver::new(&["127.0.0.1:1".parse().unwrap()]).unwrap();
        let preflight = PreflightChecker::new(resolver, Zone::new(&base()).unwrap(), base(), &[]);
        let preflight = Arc::new(ArcSwap::from_pointee(preflight));
        let accounts = AcmeAccounts::new(store.clone(), Arc::clone(&key), clock);
        let orders = Orders { store: store.clone(), key: Arc::clone(&key), accounts, solver, clock };
        let issuer = AcmeIssuer::new(AcmeIssuerParts { cas, orders, preflight, metrics: metrics.clone() });
        Self { _dir: dir, store, key, metrics, issuer }
    }
}
