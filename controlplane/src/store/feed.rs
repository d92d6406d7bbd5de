//! The changes that nodes receive through the feed.

use std::sync::Arc;

use diesel::connection::DefaultLoadingMode;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool};
use webgateway_proto::feed::{FeedRoute, Resource, ResourceName};
use webgateway_proto::model::options::KeyIds;
use webgateway_proto::model::{Destination, RouteOptions};
use webgateway_seal::SecretKey;

use super::certificates;
use super::change::{Change, ChangeSet, ResourceChange};
use super::routes::RouteRow;
use super::schema::{meta, routes, tombstones, users};
use super::{StoreError, Tx, WriteTx, tickets};

/// A text about the gateway, and the version at which it came to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fact {
    text: &'static str,
    version: &'static str,
}

/// The settings that decide which routes are served.
pub(crate) const SETTINGS: Fact = Fact { text: "feed_settings", version: "feed_settings_version" };
/// The listeners where no backend may be.
pub(crate) const LISTENERS: Fact = Fact { text: "feed_listeners", version: "feed_listeners_version" };

/// Returns everything on the feed that changed after `version` (0: everything), except for the settings, which are not
/// in the store. The routes of suspended owners, and those that
/// do not hold their hosts, are reported as removed. The cost depends on the number of changes
/// only.
pub(crate) fn changes_since(tx: &mut Tx<'_>, version: u64, key: &SecretKey) -> Result<ChangeSet, StoreError> {
    let after = version.cast_signed();
    let mut changed = changed_routes(tx, after)?;
    changed.extend(routes_of_changed_owners(tx, after)?);
    changed.extend(deleted_routes(tx, after)?);
    changed.extend(certificates::changed_since(tx, version, key)?);
    changed.extend(changed_tickets(tx, version, key)?);
    Ok(ChangeSet { version: tx.revision()?, changed })
}

/// Returns the version at which a fact became `text`. If it was different, that is a new version.
pub(crate) fn record(tx: &mut WriteTx<'_>, fact: Fact, text: &str) -> Result<u64, StoreError> {
    let known = |tx: &mut WriteTx<'_>, key: &str| -> Result<Option<String>, StoreError> {
        Ok(meta::table.find(key).select(meta::value).first(tx.conn).optional()?)
    };
    if known(tx, fact.text)?.as_deref() == Some(text)
        && let Some(version) = known(tx, fact.version)?
    {
        return version.parse().map_err(|e| StoreError::damaged("meta", fact.version, e));
    }
    let version = tx.revise()?;
    for (key, value) in [(fact.text, text), (fact.version, &version.to_string())] {
        let row = (meta::key.eq(key), meta::value.eq(value));
        diesel::replace_into(meta::table).values(row).execute(tx.conn)?;
    }
    Ok(version)
}

type RouteWithOwner = (RouteRow, bool, bool, i64);

fn changed_routes(tx: &mut Tx<'_>, after: i64) -> Result<Vec<ResourceChange>, StoreError> {
    let query = routes::table.inner_join(users::table).filter(routes::version.gt(after)).select((
        RouteRow::as_select(),
        routes::held,
        users::suspended,
        users::version,
    ));
    // Rows are loaded one at a time because the first call at a start returns all routes.
    query.load_iter::<RouteWithOwner, DefaultLoadingMode>(tx.conn)?.map(|row| route_change(row?)).collect()
}

/// Returns routes that are unchanged while their owner changed. A separate query, because it can use its own index.
fn routes_of_changed_owners(tx: &mut Tx<'_>, after: i64) -> Result<Vec<ResourceChange>, StoreError> {
    // The other query returns every route then.
    if after == 0 {
        return Ok(Vec::new());
    }
    let query = users::table
        .inner_join(routes::table)
        .filter(users::version.gt(after))
        .filter(sql::<Bool>(super::UNCHANGED_SINCE).bind::<BigInt, _>(after))
        .select((RouteRow::as_select(), routes::held, users::suspended, users::version));
    query.load_iter::<RouteWithOwner, DefaultLoadingMode>(tx.conn)?.map(|row| route_change(row?)).collect()
}

fn deleted_routes(tx: &mut Tx<'_>, after: i64) -> Result<Vec<ResourceChange>, StoreError> {
    let rows: Vec<(String, i64)> = tombstones::table
        .filter(tombstones::version.gt(after))
        .select((tombstones::route_id, tombstones::version))
        .load(tx.conn)?;
    let read = |(id, version): (String, i64)| {
        let name = id.parse().map(ResourceName::Route);
        Ok(ResourceChange {
            name: name.map_err(|e| StoreError::damaged("tombstones", &id, e))?,
            version: version.cast_unsigned(),
            change: Change::Remove { at_once: false },
        })
    };
    rows.into_iter().map(read).collect()
}

fn changed_tickets(
    tx: &mut Tx<'_>,
    after: u64,
    key: &SecretKey,
) -> Result<Option<ResourceChange>, StoreError> {
    let updated = tickets::find(tx, key)?.filter(|stored| stored.version > after);
    Ok(updated.map(|tickets::StoredTicketKeys { version, keys, .. }| ResourceChange {
        name: ResourceName::TicketKeys,
        version,
        change: Change::Put(Arc::new(Resource::TicketKeys(keys))),
    }))
}

fn route_change((row, held, suspended, owner_version): RouteWithOwner) -> Result<ResourceChange, StoreError> {
    let route = row.parse()?;
    let name = ResourceName::Route(route.id);
    let version = route.version.max(owner_version.cast_unsigned());
    if suspended {
        return Ok(ResourceChange { name, version, change: Change::Remove { at_once: true } });
    }
    if !held {
        return Ok(ResourceChange { name, version, change: Change::Remove { at_once: false } });
    }
    let route = FeedRoute { id: route.id, host: route.host, destination: for_nodes(route.destination) };
    Ok(ResourceChange { name, version, change: Change::Put(Arc::new(Resource::Route(route))) })
}

/// Removes the options that only the controlplane uses.
fn for_nodes(destination: Destination) -> Destination {
    if destination.options.subdomain_owners.is_empty() {
        return destination;
    }
    let options = RouteOptions { subdomain_owners: KeyIds::default(), ..(*destination.options).clone() };
    Destination { options: options.share(), ..destination }
}

#[cfg(test)]
mod tests;
