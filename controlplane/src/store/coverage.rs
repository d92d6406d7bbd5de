//! The lookup of certificates by host.

use diesel::dsl::exists;
use diesel::prelude::*;
use webgateway_proto::model::Host;

use super::schema::certificate_names;
use super::{StoreError, Tx};

/// Returns true if a certificate in the store covers the host, by its name or by a wildcard.
pub(crate) fn covers(tx: &mut Tx<'_>, host: &Host) -> Result<bool, StoreError> {
    let wildcard = host.as_str().split_once('.').map(|(_, parent)| format!("*.{parent}")).unwrap_or_default();
    // Two lookups are faster: for both names in one condition, SQLite would build and sort a temporary table.
    let named = certificate_names::table.filter(certificate_names::name.eq(host.as_str()));
    let wild = certificate_names::table.filter(certificate_names::name.eq(wildcard));
    Ok(diesel::select(exists(named).or(exists(wild))).get_result(tx.conn)?)
}
