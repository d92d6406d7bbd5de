//! The error of binding a listener.

use std::io;

use thiserror::Error;

/// An address that cannot be bound, with the listener's purpose and the configuration key of the address.
#[derive(Debug, Error)]
#[error("cannot listen on {address} for {what} (key `{key}`): {}", reason(source))]
pub struct BindError {
    /// The purpose of the listener, such as "the API".
    pub what: &'static str,
    /// The address, as it was configured.
    pub address: String,
    /// The configuration key that names it.
    pub key: &'static str,
    /// The system's error.
    pub source: io::Error,
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process uses it; stop that process or choose another address".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "not permitted; ports below 1024 need CAP_NET_BIND_SERVICE".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".to_owned(),
        _ => error.to_string(),
    }
}
