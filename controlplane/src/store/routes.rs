//! The tables of routes and of the tombstones of deleted routes.

use std::ops::ControlFlow;

use diesel::connection::DefaultLoadingMode;
use diesel::prelude::*;
use serde::Deserialize;
use time::OffsetDateTime;
use webgateway_proto::model::{
    Backends, Destination, Host, KeyId, Mode, Prefixes, Route, RouteId, RouteOptions, Words as _,
};

use super::schema::{routes, tombstones};
use super::{StoreError, Tx, WriteTx};

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = routes, treat_none_as_null = true, check_for_backend(diesel::sqlite::Sqlite))]
pub(super) struct RouteRow {
    id: String,
    owner: String,
    host: String,
    mode: String,
    backends: String,
    version: i64,
    created_at: i64,
    updated_at: i64,
    options: String,
    reversed: String,
}

/// The stored options of a route. An option that this build does not know is an error, so that it is not lost.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredOptions {
    #[serde(flatten)]
    options: RouteOptions,
}

/// Returns the route with this id.
pub(crate) fn find(tx: &mut Tx<'_>, id: RouteId) -> Result<Option<Route>, StoreError> {
    let row = routes::table.find(id.to_string()).select(RouteRow::as_select()).first(tx.conn).optional()?;
    row.map(RouteRow::parse).transpose()
}

/// Returns the route that holds this host.
pub(crate) fn find_by_host(tx: &mut Tx<'_>, host: &Host) -> Result<Option<Route>, StoreError> {
    let query = routes::table.filter(routes::host.eq(host.as_str()).and(routes::held.eq(true)));
    let row = query.select(RouteRow::as_select()).first(tx.conn).optional()?;
    row.map(RouteRow::parse).transpose()
}

/// A filter for routes. Fields that are `None` match all routes.
#[derive(Debug, Clone, Default)]
pub(crate) struct RouteFilter {
    /// The user to whom the routes must be visible.
    pub visible_to: Option<KeyId>,
    /// The owner of the routes.
    pub owner: Option<String>,
    /// The prefix of the routes' hosts.
    pub host: Option<String>,
    /// The mode of the routes.
    pub mode: Option<Mode>,
}

/// Returns the key of a route in the order of [`page`]: by host, and by id among the routes that claim one host.
#[must_use]
pub(crate) fn page_key(route: &Route) -> String {
    format!("{} {}", route.host, route.id)
}

/// Returns the first matching routes after the one with the key `after`, at most `limit`. A key without an id stands
/// for the last route of its host.
pub(crate) fn page(
    tx: &mut Tx<'_>,
    filter: &RouteFilter,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<Route>, StoreError> {
    let mut query = routes::table
        .select(RouteRow::as_select())
        .order((routes::host, routes::id))
        .limit(limit.into())
        .into_boxed();
    match after.map(|after| after.split_once(' ').ok_or(after)) {
        Some(Ok((host, id))) => {
            // The first condition can use the index.
            query = query.filter(routes::host.ge(host)).filter(routes::host.gt(host).or(routes::id.gt(id)));
        }
        Some(Err(host)) => query = query.filter(routes::host.gt(host)),
        None => {}
    }
    if let Some(user) = &filter.visible_to {
        query = query.filter(routes::owner.eq(user.as_str()));
    }
    if let Some(owner) = &filter.owner {
        query = query.filter(routes::owner.eq(owner));
    }
    if let Some(start) = &filter.host {
        // A range condition, because it can use the index. Hosts are ASCII.
        query = query.filter(routes::host.ge(start)).filter(routes::host.lt(format!("{start}{}", char::MAX)));
    }
    if let Some(mode) = filter.mode {
        query = query.filter(routes::mode.eq(mode.as_str()));
    }
    query.load(tx.conn)?.into_iter().map(RouteRow::parse).collect()
}

/// Calls `visit` with the hosts and modes of one owner's routes, or of all, by host after the host `after`, until
/// `visit` breaks or `max_rows` were visited. Returns the last host, if there may be more.
pub(crate) fn scan(
    tx: &mut Tx<'_>,
    owner: Option<&KeyId>,
    after: Option<&str>,
    max_rows: u32,
    mut visit: impl FnMut(Host, Mode) -> ControlFlow<()>,
) -> Result<Option<Host>, StoreError> {
    let mut query = routes::table
        .select((routes::host, routes::mode))
        .filter(routes::held.eq(true))
        .order(routes::host)
        .limit(max_rows.into())
        .into_boxed();
    if let Some(owner) = owner {
        query = query.filter(routes::owner.eq(owner.as_str()));
    }
    if let Some(after) = after {
        query = query.filter(routes::host.gt(after));
    }
    let (mut visited, mut last) = (0, None);
    for row in query.load_iter::<(String, String), DefaultLoadingMode>(tx.conn)? {
        let (host, mode) = row?;
        let host = Host::parse(&host).map_err(|e| StoreError::damaged("routes", &host, e))?;
        let mode = parse_mode(&mode, host.as_str())?;
        visited += 1;
        last = Some(host.clone());
        if visit(host, mode).is_break() {
            return Ok(last);
        }
    }
    Ok(last.filter(|_| visited == max_rows))
}

/// Adds a route, which holds its host or only claims it. Deletes the tombstone of an earlier route with the same id.
pub(crate) fn insert(tx: &mut WriteTx<'_>, route: &Route, held: bool) -> Result<(), StoreError> {
    diesel::delete(tombstones::table.find(route.id.to_string())).execute(tx.conn)?;
    let row = RouteRow::from_route(route)?;
    diesel::insert_into(routes::table).values((row, routes::held.eq(held))).execute(tx.conn)?;
    Ok(())
}

/// Replaces the route with the same id. It holds its host as before, unless `held` says otherwise.
pub(crate) fn update(tx: &mut WriteTx<'_>, route: &Route, held: Option<bool>) -> Result<(), StoreError> {
    let target = routes::table.find(route.id.to_string());
    let row = RouteRow::from_route(route)?;
    match held {
        Some(held) => diesel::update(target).set((row, routes::held.eq(held))).execute(tx.conn)?,
        None => diesel::update(target).set(row).execute(tx.conn)?,
    };
    Ok(())
}

/// Deletes a route and leaves a tombstone with `version` and `now`.
pub(crate) fn delete(
    tx: &mut WriteTx<'_>,
    id: RouteId,
    version: u64,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    diesel::delete(routes::table.find(id.to_string())).execute(tx.conn)?;
    diesel::replace_into(tombstones::table)
        .values((
            tombstones::route_id.eq(id.to_string()),
            tombstones::version.eq(version.cast_signed()),
            tombstones::deleted_at.eq(to_millis(now)),
        ))
        .execute(tx.conn)?;
    Ok(())
}

impl RouteRow {
    /// Parses the row. Fails on a row that this program cannot have written.
    pub(super) fn parse(self) -> Result<Route, StoreError> {
        let damaged = |reason: String| StoreError::damaged("routes", &self.id, reason);
        let texts: Vec<String> = serde_json::from_str(&self.backends).map_err(|e| damaged(e.to_string()))?;
        // The permitted prefixes may have been narrowed since. Nodes enforce them; the row must stay readable.
        let backends = Backends::parse(&texts, &Prefixes::all()).map_err(|e| damaged(e.to_string()))?;
        let options: StoredOptions =
            serde_json::from_str(&self.options).map_err(|e| damaged(e.to_string()))?;
        let mode = parse_mode(&self.mode, &self.id)?;
        let destination = Destination { mode, backends, options: options.options.share() };
        Ok(Route {
            id: self.id.parse().map_err(|e| damaged(format!("{e}")))?,
            owner: self.owner.parse().map_err(|e| damaged(format!("{e}")))?,
            host: self.host.parse().map_err(|e| damaged(format!("{e}")))?,
            destination,
            version: self.version.cast_unsigned(),
            created_at: from_millis(self.created_at).ok_or_else(|| damaged("created_at".to_owned()))?,
            updated_at: from_millis(self.updated_at).ok_or_else(|| damaged("updated_at".to_owned()))?,
        })
    }

    fn from_route(route: &Route) -> Result<Self, StoreError> {
        let backends = route.destination.backends.as_slice();
        let id = route.id.to_string();
        let damaged = |error| StoreError::damaged("routes", &id, error);
        let backends = serde_json::to_string(backends).map_err(damaged)?;
        let options = serde_json::to_string(&*route.destination.options).map_err(damaged)?;
        Ok(Self {
            id,
            owner: route.owner.to_string(),
            host: route.host.to_string(),
            mode: route.destination.mode.to_string(),
            backends,
            version: route.version.cast_signed(),
            created_at: to_millis(route.created_at),
            updated_at: to_millis(route.updated_at),
            options,
            reversed: reversed(&route.host),
        })
    }
}

fn parse_mode(text: &str, key: &str) -> Result<Mode, StoreError> {
    Mode::parse(text).map_err(|_| StoreError::damaged("routes", key, format!("mode `{text}`")))
}

/// Returns a host with its labels in reverse order.
pub(super) fn reversed(host: &Host) -> String {
    host.as_str().rsplit('.').collect::<Vec<_>>().join(".")
}

/// Converts a time to Unix milliseconds.
pub(super) fn to_millis(time: OffsetDateTime) -> i64 {
    time.unix_timestamp() * 1000 + i64::from(time.millisecond())
}

/// Converts Unix milliseconds to a time; `None` if it is outside the calendar.
pub(super) fn from_millis(millis: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).ok()
}
