//! Which challenges the nodes may hold, by host alone: what they hold of a process that died is taken from them.

use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use webgateway_proto::feed::ResourceName;
use webgateway_proto::model::Host;

use super::change::{Change, ResourceChange};
use super::schema::meta;
use super::{StoreError, Tx, WriteTx};

const META_KEY: &str = "feed_challenges";

/// What the last process left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leftovers {
    /// Which challenges there are was last changed by this revision (0: never). Who stands before it may hold some
    /// that are not named here.
    pub since: u64,
    /// What is to be removed.
    pub changed: Vec<ResourceChange>,
}

#[derive(Default, Serialize, Deserialize)]
struct StoredChallenges {
    version: u64,
    hosts: Vec<Host>,
}

/// Notes that the nodes are to hold the challenges of exactly these hosts; tells the version of that change.
pub(crate) fn record(tx: &mut WriteTx<'_>, hosts: &[Host]) -> Result<u64, StoreError> {
    let version = tx.revise()?;
    let row = StoredChallenges { version, hosts: hosts.to_vec() };
    let text = serde_json::to_string(&row).map_err(|e| StoreError::damaged("meta", META_KEY, e))?;
    let values = (meta::key.eq(META_KEY), meta::value.eq(text));
    diesel::replace_into(meta::table).values(values).execute(tx.conn)?;
    Ok(version)
}

/// Takes away what is left of challenges that nobody shows any more.
pub(crate) fn clear(tx: &mut WriteTx<'_>) -> Result<Leftovers, StoreError> {
    let StoredChallenges { version: since, hosts } = read(tx)?;
    if hosts.is_empty() {
        return Ok(Leftovers { since, changed: Vec::new() });
    }
    let version = record(tx, &[])?;
    let removed = |host| ResourceChange {
        name: ResourceName::Challenge(host),
        version,
        change: Change::Remove { at_once: false },
    };
    Ok(Leftovers { since, changed: hosts.into_iter().map(removed).collect() })
}

fn read(tx: &mut Tx<'_>) -> Result<StoredChallenges, StoreError> {
    let text: Option<String> = meta::table.find(META_KEY).select(meta::value).first(tx.conn).optional()?;
    let Some(text) = text else { return Ok(StoredChallenges::default()) };
    serde_json::from_str(&text).map_err(|e| StoreError::damaged("meta", META_KEY, e))
}
