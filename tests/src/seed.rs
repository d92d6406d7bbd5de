//! Generated routes, inserted into the database in bulk.

use std::path::Path;

use anyhow::{Context, Result};
use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};

use crate::feed_file::BASE_DOMAIN;

/// The number of users that own the routes.
pub const OWNERS: u64 = 1000;

// Odd multipliers permute the numbers, so that hosts are unordered and unique.
const STEP: u64 = 2_654_435_761;
const SHIFT: u64 = 40_503;
const MASK: u64 = 0xffff_ffff;

/// Adds `count` terminated routes, each with one backend and its own version.
pub fn routes(database: &Path, count: u64, seed: u64) -> Result<()> {
    let mut conn = SqliteConnection::establish(database.to_str().context("a path that is text")?)?;
    let base = reversed(BASE_DOMAIN);
    let mixed = format!("((i * {STEP} + {seed} * {SHIFT}) & {MASK})");
    let sql = format!(
        "PRAGMA cache_size = -500000; PRAGMA synchronous = OFF;
         BEGIN;
         CREATE TEMP TABLE base AS SELECT value AS at FROM revision;
         WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {OWNERS})
         INSERT OR IGNORE INTO users (key_id, suspended, version, first_seen)
         SELECT printf('owner%d.pub', i), 0, at, 0 FROM n, base;
         WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {count})
         INSERT INTO routes (id, owner, host, mode, backends, version, created_at, updated_at, reversed)
         SELECT printf('%08x-0000-7000-8000-%012x', {mixed}, i), printf('owner%d.pub', i % {OWNERS}),
                printf('service-%08x.{BASE_DOMAIN}', {mixed}), 'terminate',
                printf('[\"[54f:%x:%x::1]:8080\"]', i / 65536, i % 65536), at + 1 + i, 0, 0,
                printf('{base}.service-%08x', {mixed})
         FROM n, base WHERE {count} > 0;
         UPDATE revision SET value = value + {count};
         DROP TABLE base;
         COMMIT;"
    );
    conn.batch_execute(&sql)?;
    Ok(())
}

/// Adds one terminated route without validation.
pub fn route(database: &Path, host: &str, backend: &str) -> Result<()> {
    let reversed = reversed(host);
    let mut conn = SqliteConnection::establish(database.to_str().context("a path that is text")?)?;
    let sql = format!(
        "BEGIN;
         UPDATE revision SET value = value + 1;
         INSERT OR IGNORE INTO users (key_id, suspended, version, first_seen)
         SELECT 'owner0.pub', 0, value, 0 FROM revision;
         INSERT INTO routes (id, owner, host, mode, backends, version, created_at, updated_at, reversed)
         SELECT printf('00000000-0000-7000-8000-%012x', value), 'owner0.pub', '{host}', 'terminate',
                '[\"{backend}\"]', value, 0, 0, '{reversed}' FROM revision;
         COMMIT;"
    );
    conn.batch_execute(&sql)?;
    Ok(())
}

/// Returns a host with its labels in reverse order.
fn reversed(host: &str) -> String {
    host.rsplit('.').collect::<Vec<_>>().join(".")
}

/// Returns the id of the `n`th route.
#[must_use]
pub fn id(n: u64, seed: u64) -> String {
    let mixed = n.wrapping_mul(STEP).wrapping_add(seed.wrapping_mul(SHIFT)) & MASK;
    format!("{mixed:08x}-0000-7000-8000-{n:012x}")
}

/// Returns the key id of the `n`th route's owner.
#[must_use]
pub fn owner(n: u64) -> String {
    format!("owner{}.pub", n % OWNERS)
}
