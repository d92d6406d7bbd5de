//! The TLS mode of a route.

use super::words::words;

words! {
    /// The TLS mode of a route.
    pub enum Mode {
        /// The gateway terminates TLS and proxies HTTP.
        #[default]
        Terminate = "terminate",
        /// The gateway forwards the encrypted bytes to the backend unchanged.
        Passthrough = "passthrough",
    }
}
