//! The flag of the PROXY protocol towards backends.

use clap::Args;
use webgateway_proto::model::RouteOptionsPatch;
use webgateway_proto::model::options::ProxyProtocol;

use super::words::enum_parser;

/// The flag of `proxy_protocol`.
#[derive(Debug, Args)]
pub(super) struct ProxyProtocolFlags {
    /// Tell the backends the client's address by the PROXY protocol, which they must expect [default: off]
    #[arg(long, value_parser = enum_parser::<ProxyProtocol>())]
    proxy_protocol: Option<ProxyProtocol>,
}

impl ProxyProtocolFlags {
    /// Adds the flag to `patch`.
    pub(super) fn add_to(&self, patch: &mut RouteOptionsPatch) {
        patch.proxy_protocol = self.proxy_protocol.into();
    }
}
