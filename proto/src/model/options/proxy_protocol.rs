//! The PROXY protocol towards the backends of a route.

use crate::model::words::words;

words! {
    /// The version of the PROXY protocol in which backends are told the client's address.
    pub enum ProxyProtocol {
        /// Connections to backends begin with the client's bytes.
        #[default]
        Off = "off",
        /// Connections to backends begin with a line of text, PROXY protocol version 1.
        V1 = "v1",
        /// Connections to backends begin with a binary header, PROXY protocol version 2.
        V2 = "v2",
    }
}

impl ProxyProtocol {
    pub(super) const fn is_off(&self) -> bool {
        matches!(self, Self::Off)
    }
}
