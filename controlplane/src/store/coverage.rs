//! Which hosts have a certificate.

use diesel::dsl::exists;
use diesel::prelude::*;
use webgateway_proto::model::Host;

use super::schema::certificate_names;
use super::{StoreError, Tx};

/// Whether a certificate in the store covers this host, by its name or a wildcard.
pub(crate) fn covers(tx: &mut Tx<'_>, host: &Host) -> Result<bool, StoreError> {
    let wildcard = host.as_str().split_once('.').map(|(_, parent)| format!("*.{parent}")).unwrap_or_default();
    // Two lookups: the names as one list, by `OR` or `IN`, would be sorted into a table of their own each time.
    let named = certificate_names::table.filter(certificate_names::name.eq(host.as_str()));
    let wild = certificate_names::table.filter(certificate_names::name.eq(wildcard));
    Ok(diesel::select(exists(named).or(exists(wild))).get_result(tx.conn)?)
}
