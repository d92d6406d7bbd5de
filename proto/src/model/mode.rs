//! The way a host's TLS is treated.

use super::words::words;

words! {
    /// The way the gateway treats a host's TLS.
    pub enum Mode {
        /// The gateway terminates TLS and proxies HTTP.
        #[default]
        Terminate = "terminate",
        /// The bytes go untouched to the backend.
        Passthrough = "passthrough",
    }
}
