//! The origin of a connection to a backend, and the header that announces it.

use webgateway_proto::model::options::ProxyProtocol;

use super::encode;
use super::endpoints::Endpoints;

/// The origin of a connection to a backend: a client's connection.
#[derive(Debug)]
pub(crate) struct Origin {
    /// The ends of the client's connection.
    pub endpoints: Endpoints,
    /// The server name (SNI) of its handshake; empty without one.
    pub server_name: Box<str>,
}

impl Origin {
    /// Creates the origin of a connection whose server name is not known yet.
    #[must_use]
    pub(crate) fn new(endpoints: Endpoints) -> Self {
        Self { endpoints, server_name: Box::default() }
    }

    /// Returns the header that announces this client, which is empty if the protocol is off.
    #[must_use]
    pub(crate) fn header(&self, protocol: ProxyProtocol) -> Box<[u8]> {
        match protocol {
            ProxyProtocol::Off => Box::default(),
            ProxyProtocol::V1 => encode::line(&self.endpoints).into(),
            ProxyProtocol::V2 => encode::binary(&self.endpoints, &self.server_name).into(),
        }
    }
}
