//! Which hosts have a certificate.

use diesel::prelude::*;
use webgateway_proto::model::Host;

use super::schema::certificate_names;
use super::{StoreError, Tx};

/// Whether a certificate in the store covers this host, by its name or a wildcard.
pub fn covers(tx: &mut Tx<'_>, host: &Host) -> Result<bool, StoreError> {
    let wildcard = host.as_str().split_once('.').map(|(_, parent)| format!("*.{parent}")).unwrap_or_default();
    // Not `eq_any`, which would be prepared anew each time.
    let is_it = certificate_names::name.eq(host.as_str()).or(certificate_names::name.eq(wildcard));
    let query = certificate_names::table.filter(is_it);
    Ok(diesel::select(diesel::dsl::exists(query)).get_result(tx.conn)?)
}
