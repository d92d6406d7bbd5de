//! Sample resources for tests of the feed.

use std::sync::Arc;

use webgateway_proto::feed::{FeedRoute, Resource, ResourceName, Settings};
use webgateway_proto::model::{Backend, Backends, Host, Prefixes, RouteId};

use crate::store::change::{Change, ResourceChange};
use crate::store::history::EpochHistory;

pub(crate) fn route_name(n: u64) -> ResourceName {
    ResourceName::Route(route_id(n))
}

fn route_id(n: u64) -> RouteId {
    RouteId::from_bytes(u128::from(n + 1).to_be_bytes())
}

/// Returns the history of a database with only this epoch.
pub(crate) fn history(epoch: &str) -> Arc<EpochHistory> {
    Arc::new(epoch.into())
}

/// Returns route `n` as it is at `version`.
pub(crate) fn route(n: u64, version: u64) -> Resource {
    let backend = Backend::parse(&format!("[400::{:x}]:80", version % 0xffff)).unwrap();
    Resource::Route(FeedRoute {
        id: route_id(n),
        host: Host::parse(&format!("r{n}.gw.example")).unwrap(),
        destination: Backends::new(vec![backend], &Prefixes::default()).unwrap().into(),
    })
}

pub(crate) fn put(n: u64, version: u64) -> ResourceChange {
    ResourceChange { name: route_name(n), version, change: Change::Put(Arc::new(route(n, version))) }
}

pub(crate) fn remove(n: u64, version: u64) -> ResourceChange {
    ResourceChange { name: route_name(n), version, change: Change::Remove { at_once: false } }
}

pub(crate) fn suspend(n: u64, version: u64) -> ResourceChange {
    ResourceChange { name: route_name(n), version, change: Change::Remove { at_once: true } }
}

pub(crate) fn settings(version: u64) -> ResourceChange {
    let settings = Settings {
        base_domain: Host::parse("gw.example").unwrap(),
        allowed_backends: Prefixes::default(),
        listeners: vec![],
    };
    let change = Change::Put(Arc::new(Resource::Settings(settings)));
    ResourceChange { name: ResourceName::Settings, version, change }
}
