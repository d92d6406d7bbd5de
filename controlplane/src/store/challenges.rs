//! The hosts whose challenges nodes may hold, so that a restarted controlplane can remove those of its predecessor.

use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use webgateway_proto::feed::ResourceName;
use webgateway_proto::model::Host;

use super::change::{Change, ResourceChange};
use super::schema::meta;
use super::{StoreError, Tx, WriteTx};

const META_KEY: &str = "feed_challenges";

/// Challenges that the previous process left on nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StaleChallenges {
    /// The revision of the last change to the set of challenges (0: never). Nodes at an older revision may hold
    /// challenges that are not in `removals`.
    pub since: u64,
    /// The challenges to remove.
    pub removals: Vec<ResourceChange>,
}

#[derive(Default, Serialize, Deserialize)]
struct StoredChallenges {
    version: u64,
    hosts: Vec<Host>,
}

/// Records that nodes hold the challenges of exactly these hosts. Returns the version of that change.
pub(crate) fn record(tx: &mut WriteTx<'_>, hosts: &[Host]) -> Result<u64, StoreError> {
    let version = tx.revise()?;
    let row = StoredChallenges { version, hosts: hosts.to_vec() };
    let text = serde_json::to_string(&row).map_err(|e| StoreError::damaged("meta", META_KEY, e))?;
    let values = (meta::key.eq(META_KEY), meta::value.eq(text));
    diesel::replace_into(meta::table).values(values).execute(tx.conn)?;
    Ok(version)
}

/// Clears the record and returns the challenges that it contained.
pub(crate) fn clear(tx: &mut WriteTx<'_>) -> Result<StaleChallenges, StoreError> {
    let StoredChallenges { version: since, hosts } = read(tx)?;
    if hosts.is_empty() {
        return Ok(StaleChallenges { since, removals: Vec::new() });
    }
    let version = record(tx, &[])?;
    let removal = |host| ResourceChange {
        name: ResourceName::Challenge(host),
        version,
        change: Change::Remove { at_once: false },
    };
    Ok(StaleChallenges { since, removals: hosts.into_iter().map(removal).collect() })
}

fn read(tx: &mut Tx<'_>) -> Result<StoredChallenges, StoreError> {
    let text: Option<String> = meta::table.find(META_KEY).select(meta::value).first(tx.conn).optional()?;
    let Some(text) = text else { return Ok(StoredChallenges::default()) };
    serde_json::from_str(&text).map_err(|e| StoreError::damaged("meta", META_KEY, e))
}
