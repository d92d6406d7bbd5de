//! The deletion of old tombstones. Nodes at a version before a deleted tombstone need a full snapshot.

use diesel::dsl::max;
use diesel::prelude::*;
use time::OffsetDateTime;

use super::routes::to_millis;
use super::schema::{meta, tombstones};
use super::{StoreError, Tx, WriteTx, certificates};

const FLOOR_KEY: &str = "feed_floor";

/// Deletes the tombstones from before `before` and all but about `max_tombstones` of the rest. Returns the floor: the
/// version below which the store can no longer compute a difference.
pub(crate) fn compact(
    tx: &mut WriteTx<'_>,
    max_tombstones: u32,
    before: OffsetDateTime,
) -> Result<u64, StoreError> {
    let known = floor(tx)?;
    let old: Option<i64> = tombstones::table
        .filter(tombstones::deleted_at.lt(to_millis(before)))
        .select(max(tombstones::version))
        .first(tx.conn)?;
    let surplus: Option<i64> = tombstones::table
        .select(tombstones::version)
        .order(tombstones::version.desc())
        .offset(max_tombstones.into())
        .first(tx.conn)
        .optional()?;
    let Some(until) = old.max(surplus) else { return Ok(known) };
    diesel::delete(tombstones::table.filter(tombstones::version.le(until))).execute(tx.conn)?;
    certificates::purge_dropped(tx, until)?;
    let floor = known.max(until.cast_unsigned());
    let row = (meta::key.eq(FLOOR_KEY), meta::value.eq(floor.to_string()));
    diesel::replace_into(meta::table).values(row).execute(tx.conn)?;
    Ok(floor)
}

fn floor(tx: &mut Tx<'_>) -> Result<u64, StoreError> {
    let text: Option<String> = meta::table.find(FLOOR_KEY).select(meta::value).first(tx.conn).optional()?;
    let parse = |text: String| text.parse().map_err(|e| StoreError::damaged("meta", FLOOR_KEY, e));
    text.map_or(Ok(0), parse)
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;
    use tempfile::TempDir;
    use webgateway_proto::model::RouteId;

    use super::*;
    use crate::metrics::Metrics;
    use crate::store::{Store, routes};

    const DAY: i64 = 86_400;

    fn at(day: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(day * DAY).unwrap()
    }

    async fn write<T: Send + 'static>(
        store: &Store,
        work: impl FnOnce(&mut WriteTx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        store.write("test", work).await.unwrap()
    }

    #[tokio::test]
    async fn old_and_surplus_tombstones_are_deleted_and_raise_the_floor() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("controlplane.db");
        let open = || Store::open(&path, Metrics::register(&mut Registry::default())).unwrap();
        let store = open();
        let mut versions = Vec::new();
        for day in 0..10 {
            let deleted = write(&store, move |tx| {
                let version = tx.revise()?;
                routes::delete(tx, RouteId::generate(), version, at(day))?;
                Ok(version)
            });
            versions.push(deleted.await);
        }
        let left = |tx: &mut WriteTx<'_>| Ok(tombstones::table.count().get_result::<i64>(tx.conn)?);
        assert_eq!(write(&store, |tx| compact(tx, 10, at(0))).await, 0, "nothing is old or surplus");
        assert_eq!(write(&store, left).await, 10);
        assert_eq!(write(&store, |tx| compact(tx, 10, at(3))).await, versions[2]);
        assert_eq!(write(&store, left).await, 7);
        assert_eq!(write(&store, |tx| compact(tx, 2, at(0))).await, versions[7]);
        assert_eq!(write(&store, left).await, 2);
        drop(store);
        assert_eq!(write(&open(), |tx| compact(tx, 2, at(0))).await, versions[7], "after a restart too");
    }
}
