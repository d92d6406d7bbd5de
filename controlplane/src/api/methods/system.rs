//! `health`, `version` and `rpc.discover`: for everybody, unsigned.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::error;
use webgateway_proto::api::{BuildInfo, Health, method};

use super::method::{Example, Method, Services};
use super::samples;
use crate::api::fault::Kind;
use crate::domain::DomainError;

pub(super) struct Healthy;
pub(super) struct Version;
pub(super) struct Discover;

/// No params.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NoParams {}

impl Method for Healthy {
    const NAME: &'static str = method::HEALTH;
    const SUMMARY: &'static str = "Says whether the controlplane works";
    const DESCRIPTION: &'static str = "For everybody, unsigned.";
    const ERRORS: &'static [Kind] = &[];
    type Who = ();
    type Params = NoParams;
    type Outcome = Health;

    fn examples() -> Vec<Example<Self::Params, Self::Outcome>> {
        vec![Example {
            name: "All is well",
            params: NoParams {},
            result: Health { status: "ok".to_owned(), nodes: 2 },
        }]
    }

    async fn call(services: &Services, (): (), _: NoParams) -> Result<Health, DomainError> {
        let status = match services.domain.revision().await {
            Ok(_) => "ok",
            Err(failure) => {
                error!(%failure, "the store failed");
                "the store does not answer"
            }
        };
        let nodes = services.domain.nodes.nodes().iter().filter(|node| node.connected).count();
        Ok(Health { status: status.to_owned(), nodes: nodes as u64 })
    }
}

impl Method for Version {
    const NAME: &'static str = method::VERSION;
    const SUMMARY: &'static str = "Says which build this is, and of which domain";
    const DESCRIPTION: &'static str = "For everybody, unsigned.";
    const ERRORS: &'static [Kind] = &[];
    type Who = ();
    type Params = NoParams;
    type Outcome = BuildInfo;

    fn examples() -> Vec<Example<Self::Params, Self::Outcome>> {
        vec![Example { name: "A build", params: NoParams {}, result: samples::build() }]
    }

    async fn call(services: &Services, (): (), _: NoParams) -> Result<BuildInfo, DomainError> {
        let (name, version) = (env!("CARGO_PKG_NAME").to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        Ok(BuildInfo { name, version, base_domain: Some(services.domain.hosts.base().to_string()) })
    }
}

impl Method for Discover {
    const NAME: &'static str = method::DISCOVER;
    const SUMMARY: &'static str = "Returns this document";
    const DESCRIPTION: &'static str =
        "For everybody, unsigned. It is an OpenRPC 1.3 document, the same as at `/openrpc.json`.";
    const ERRORS: &'static [Kind] = &[];
    type Who = ();
    type Params = NoParams;
    type Outcome = Value;

    fn examples() -> Vec<Example<Self::Params, Self::Outcome>> {
        vec![Example { name: "The head of it", params: NoParams {}, result: samples::document() }]
    }

    async fn call(services: &Services, (): (), _: NoParams) -> Result<Value, DomainError> {
        Ok(services.document.clone())
    }
}
