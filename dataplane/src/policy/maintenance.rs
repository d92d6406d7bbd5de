//! The maintenance mode of a route.

use std::net::IpAddr;

use webgateway_proto::model::options::Maintenance;

use crate::http::error::ProxyError;

/// Refuses a client during the maintenance, unless its network is excepted.
pub(super) fn admit(maintenance: &Maintenance, client: IpAddr) -> Result<(), ProxyError> {
    if maintenance.except().contain(client) {
        return Ok(());
    }
    let text = maintenance.text().unwrap_or("This site is under maintenance. Please try again later.");
    Err(ProxyError::Maintenance { text: text.into(), retry_after: maintenance.retry_after() })
}
