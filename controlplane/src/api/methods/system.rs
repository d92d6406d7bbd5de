//! The methods `health`, `version` and `rpc.discover`, which need no signature.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::error;
use webgateway_proto::api::{BuildInfo, Health, method};

use super::method::{Example, Method, Services};
use super::samples;
use crate::api::errors::ErrorKind;
use crate::domain::DomainError;

pub(super) struct HealthStatus;
pub(super) struct Version;
pub(super) struct Discover;

/// The params of a method that has none.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EmptyParams {}

impl Method for HealthStatus {
    const NAME: &'static str = method::HEALTH;
    const SUMMARY: &'static str = "Returns the state of the controlplane";
    const DESCRIPTION: &'static str = "For everybody, without a signature.";
    const ERRORS: &'static [ErrorKind] = &[];
    type Caller = ();
    type Params = EmptyParams;
    type Output = Health;

    fn examples() -> Vec<Example<Self::Params, Self::Output>> {
        vec![Example {
            name: "A working controlplane",
            params: EmptyParams {},
            result: Health { status: "ok".to_owned(), nodes: 2 },
        }]
    }

    async fn call(services: &Services, (): (), _: EmptyParams) -> Result<Health, DomainError> {
        let status = match services.domain.revision().await {
            Ok(_) => "ok",
            Err(error) => {
                error!(%error, "store failed");
                "the store does not answer"
            }
        };
        let nodes = services.domain.nodes.nodes().iter().filter(|node| node.connected).count();
        Ok(Health { status: status.to_owned(), nodes: nodes as u64 })
    }
}

impl Method for Version {
    const NAME: &'static str = method::VERSION;
    const SUMMARY: &'static str = "Returns the version and the base domain of the gateway";
    const DESCRIPTION: &'static str = "For everybody, without a signature.";
    const ERRORS: &'static [ErrorKind] = &[];
    type Caller = ();
    type Params = EmptyParams;
    type Output = BuildInfo;

    fn examples() -> Vec<Example<Self::Params, Self::Output>> {
        vec![Example { name: "A build", params: EmptyParams {}, result: samples::build() }]
    }

    async fn call(services: &Services, (): (), _: EmptyParams) -> Result<BuildInfo, DomainError> {
        let (name, version) = (env!("CARGO_PKG_NAME").to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        Ok(BuildInfo { name, version, base_domain: Some(services.domain.hosts.base().to_string()) })
    }
}

impl Method for Discover {
    const NAME: &'static str = method::DISCOVER;
    const SUMMARY: &'static str = "Returns this document";
    const DESCRIPTION: &'static str = "\
        For everybody, without a signature. The result is an OpenRPC 1.3 document, the same as at \
        `/openrpc.json`.";
    const ERRORS: &'static [ErrorKind] = &[];
    type Caller = ();
    type Params = EmptyParams;
    type Output = Value;

    fn examples() -> Vec<Example<Self::Params, Self::Output>> {
        vec![Example {
            name: "The start of the document",
            params: EmptyParams {},
            result: samples::document(),
        }]
    }

    async fn call(services: &Services, (): (), _: EmptyParams) -> Result<Value, DomainError> {
        Ok(services.document.clone())
    }
}
