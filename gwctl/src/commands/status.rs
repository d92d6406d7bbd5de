//! The commands `gwctl health` and `gwctl version`.

use gwctl::Client;
use serde_json::{Value, json};
use webgateway_proto::api::{BuildInfo, Health, method};

use crate::cli::Format;
use crate::error::{CommandError, FailureKind};
use crate::output::{self, Report};
use crate::printable::printable;

/// Runs `gwctl health`. Any status other than `ok` is an error.
pub(super) async fn health(client: &Client) -> Result<Report, CommandError> {
    let result: Value = client.call(method::HEALTH, &json!({})).await?;
    match result.get("status").and_then(Value::as_str) {
        Some("ok") | None => Ok(Report::from_result(result, |health: Health| {
            let nodes = if health.nodes == 1 { "node" } else { "nodes" };
            format!("{}, {} {nodes} connected", printable(&health.status), health.nodes)
        })),
        Some(status) => {
            Err(CommandError::new(FailureKind::Unreachable, format!("the gateway is unhealthy: {status}")))
        }
    }
}

/// Runs `gwctl version`. If the controlplane is unreachable, it warns and prints only gwctl's version.
pub(super) async fn version(client: &Client, format: Format) -> Result<Report, CommandError> {
    let (name, version) = (env!("CARGO_PKG_NAME").to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    let own = BuildInfo { name, version, base_domain: None };
    let theirs = match client.call(method::VERSION, &json!({})).await {
        Ok(result) => result,
        Err(error) => {
            let message =
                format!("the controlplane's version is unknown: {}", CommandError::from(error).message);
            output::warn(format, &message);
            Value::Null
        }
    };
    let text = serde_json::from_value::<BuildInfo>(theirs.clone()).map(|theirs| version_line(&theirs));
    let text = format!("{}\n{}", version_line(&own), text.unwrap_or_default());
    Ok(Report::new(json!({ "gwctl": own, "controlplane": theirs }), text))
}

fn version_line(build: &BuildInfo) -> String {
    format!("{} {}", printable(&build.name), printable(&build.version))
}
