//! What the nodes are to learn: everything that changed after a revision.

use std::sync::Arc;

use diesel::connection::DefaultLoadingMode;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool};
use webgateway_proto::feed::{FeedRoute, Resource, ResourceName};

use super::certificates;
use super::change::{Change, Changed, Changes};
use super::routes::Row;
use super::schema::{meta, routes, tombstones, users};
use super::{StoreError, Tx, WriteTx, tickets};
use crate::seal::SecretKey;

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

/// Everything on the feed that changed after `version` (0: everything), but for the settings, which are not in the
/// store. A suspended owner's routes are gone at once. Costs what changed, not what there is.
pub(crate) fn changes_since(tx: &mut Tx<'_>, version: u64, key: &SecretKey) -> Result<Changes, StoreError> {
    let after = version.cast_signed();
    let mut changed = changed_routes(tx, after)?;
    changed.extend(routes_of_changed_owners(tx, after)?);
    changed.extend(deleted_routes(tx, after)?);
    changed.extend(certificates::changed_since(tx, version, key)?);
    changed.extend(changed_tickets(tx, version, key)?);
    Ok(Changes { version: tx.revision()?, changed })
}

/// Returns the version at which a fact came to be this text, a new one if it was another.
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

type Owned = (Row, bool, i64);

fn changed_routes(tx: &mut Tx<'_>, after: i64) -> Result<Vec<Changed>, StoreError> {
    let query = routes::table.inner_join(users::table).filter(routes::version.gt(after)).select((
        Row::as_select(),
        users::suspended,
        users::version,
    ));
    // One row at a time: at the start these are all there are.
    query.load_iter::<Owned, DefaultLoadingMode>(tx.conn)?.map(|row| route(row?)).collect()
}

/// Apart from the other query, so that each has its index.
fn routes_of_changed_owners(tx: &mut Tx<'_>, after: i64) -> Result<Vec<Changed>, StoreError> {
    // The other query has every route then.
    if after == 0 {
        return Ok(Vec::new());
    }
    let query = users::table
        .inner_join(routes::table)
        .filter(users::version.gt(after))
        .filter(sql::<Bool>(super::OLDER).bind::<BigInt, _>(after))
        .select((Row::as_select(), users::suspended, users::version));
    query.load_iter::<Owned, DefaultLoadingMode>(tx.conn)?.map(|row| route(row?)).collect()
}

fn deleted_routes(tx: &mut Tx<'_>, after: i64) -> Result<Vec<Changed>, StoreError> {
    let rows: Vec<(String, i64)> = tombstones::table
        .filter(tombstones::version.gt(after))
        .select((tombstones::route_id, tombstones::version))
        .load(tx.conn)?;
    let read = |(id, version): (String, i64)| {
        let name = id.parse().map(ResourceName::Route);
        Ok(Changed {
            name: name.map_err(|e| StoreError::damaged("tombstones", &id, e))?,
            version: version.cast_unsigned(),
            change: Change::Remove { at_once: false },
        })
    };
    rows.into_iter().map(read).collect()
}

fn changed_tickets(tx: &mut Tx<'_>, after: u64, key: &SecretKey) -> Result<Option<Changed>, StoreError> {
    let news = tickets::find(tx, key)?.filter(|stored| stored.version > after);
    Ok(news.map(|tickets::Stored { version, keys, .. }| Changed {
        name: ResourceName::TicketKeys,
        version,
        change: Change::Put(Arc::new(Resource::TicketKeys(keys))),
    }))
}

fn route((row, suspended, owner_version): Owned) -> Result<Changed, StoreError> {
    let route = row.read()?;
    let name = ResourceName::Route(route.id);
    let version = route.version.max(owner_version.cast_unsigned());
    if suspended {
        return Ok(Changed { name, version, change: Change::Remove { at_once: true } });
    }
    let route = FeedRoute { id: route.id, host: route.host, destination: route.destination };
    Ok(Changed { name, version, change: Change::Put(Arc::new(Resource::Route(route))) })
}

#[cfg(test)]
mod tests;
