//! The command `gwctl routes apply`, which changes the caller's routes to match a file.

use std::io::{IsTerminal, Write, stderr, stdin};
use std::path::Path;

use gwctl::Client;
use serde_json::{Value, json};
use uuid::Uuid;
use webgateway_proto::api::{BuildInfo, RouteCreate, RouteList, RouteListParams, RouteUpdate, method};
use webgateway_proto::model::KeyId;

use super::import::read_file;
use super::pages;
use crate::cli::{Apply, Format};
use crate::error::{CommandError, FailureKind};
use crate::manifest::{DesiredRoute, HostSpec, ManifestError, check_duplicates, parse};
use crate::output::Report;
use crate::plan::{Plan, Step, delete_params, plan, update_params};
use crate::printable::printable;

const FLAG: &str = "-f/--file";

/// Runs `gwctl routes apply`. After a failed change the other changes are still made, except for deletions. The exit
/// code is that of the first failure.
pub(super) async fn apply(
    client: &Client,
    caller: &KeyId,
    flags: &Apply,
    format: Format,
) -> Result<(), CommandError> {
    let at_fault = |error: ManifestError| manifest_error(&flags.file, &error);
    let mut desired = parse(&read_file(&flags.file, FLAG)?).map_err(at_fault)?;
    resolve_hosts(client, &mut desired).await?;
    check_duplicates(&desired).map_err(at_fault)?;
    let plan = plan(&desired, &own_routes(client, caller).await?, flags.prune);
    let is_text = format.is_text();
    if is_text {
        Report::new(json!({}), plan_text(&plan)).print(format)?;
    }
    if plan.steps.is_empty() {
        return if is_text { Ok(()) } else { report(&plan, None).print(format) };
    }
    if flags.dry_run {
        return check(client, &plan, format).await;
    }
    if !flags.yes && !confirm(&plan, &flags.file, is_text)? {
        return report(&plan, None).print(format);
    }
    let mut results = Vec::new();
    for step in &plan.steps {
        // The change that failed may have been the replacement of this route.
        if matches!(step, Step::Delete(_)) && results.iter().any(Result::is_err) {
            break;
        }
        let result = execute(client, step, false).await;
        // If the gateway is unreachable, the remaining steps would only run into the same timeout.
        let is_unreachable = result.as_ref().is_err_and(|failure| failure.kind == FailureKind::Unreachable);
        results.push(result);
        if is_unreachable {
            break;
        }
    }
    report(&plan, Some(&results)).print(format)?;
    check_results(&plan, results)
}

/// Replaces subdomains with full hosts. The base domain is fetched from the gateway if the file has subdomains.
async fn resolve_hosts(client: &Client, desired: &mut [DesiredRoute]) -> Result<(), CommandError> {
    if desired.iter().all(|route| matches!(route.host, HostSpec::Host(_))) {
        return Ok(());
    }
    let build: BuildInfo = client.call(method::VERSION, &json!({})).await?;
    let base = build.base_domain.ok_or_else(|| {
        CommandError::new(FailureKind::Unexpected, "the gateway is too old to report its base domain")
            .hint("write the full host in the file, as `host` instead of `subdomain`")
    })?;
    for route in desired {
        route.host = route.host.clone().with_base_domain(&base);
    }
    Ok(())
}

async fn own_routes(
    client: &Client,
    caller: &KeyId,
) -> Result<Vec<webgateway_proto::api::RouteView>, CommandError> {
    let params = RouteListParams { owner: Some(caller.to_string()), ..RouteListParams::default() };
    let page = async |_, cursor| {
        client.call(method::ROUTES_LIST, &RouteListParams { cursor, ..params.clone() }).await
    };
    let list: Value = pages::fetch_all("routes", None, page).await?;
    let list: RouteList = serde_json::from_value(list).map_err(|error| {
        CommandError::new(
            FailureKind::Unexpected,
            format!("the gateway's response has an unexpected format: {error}"),
        )
    })?;
    Ok(list.routes)
}

/// Asks for confirmation on the terminal. Without a terminal, `--yes` is required.
fn confirm(plan: &Plan, file: &Path, is_shown: bool) -> Result<bool, CommandError> {
    if file == Path::new("-") || !stdin().is_terminal() || !stderr().is_terminal() {
        let message = "there is no terminal to ask for confirmation; nothing was changed";
        return Err(CommandError::new(FailureKind::Usage, message)
            .flag("-y/--yes")
            .hint("give --yes to apply the plan without confirmation, or --dry-run to only show it"));
    }
    let plan = if is_shown { String::new() } else { plan_text(plan) + "\n" };
    // If the question cannot be printed, the user does not confirm it.
    let _ = write!(stderr(), "{plan}Apply? [y/N] ").and_then(|()| stderr().flush());
    let mut answer = String::new();
    let _ = stdin().read_line(&mut answer);
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Lets the gateway check every step, and changes nothing.
async fn check(client: &Client, plan: &Plan, format: Format) -> Result<(), CommandError> {
    let mut refused = Vec::new();
    for step in &plan.steps {
        if let Err(failure) = execute(client, step, true).await {
            refused.push((step.host(), failure));
        }
    }
    let mut report = report(plan, None).json().clone();
    let errors = refused.iter().map(|(host, failure)| failure_json(host, failure));
    report["results"] = errors.collect::<Vec<_>>().into();
    let mut lines: Vec<String> = refused.iter().map(|(host, failure)| failure_line(host, failure)).collect();
    lines.push("Nothing was changed.".to_owned());
    Report::new(report, lines.join("\n")).print(format)?;
    let (count, all) = (refused.len(), plan.steps.len());
    let Some((host, first)) = refused.into_iter().next() else { return Ok(()) };
    let message = format!("{count} of {all} changes would fail; first failure: {host}: {}", first.message);
    Err(CommandError { message, field: None, flag: None, ..first })
}

/// Makes the change of a step; in a dry run, only checks it. A deletion has nothing to check.
async fn execute(client: &Client, step: &Step, dry_run: bool) -> Result<Value, CommandError> {
    let result = match step {
        Step::Create(desired) => {
            let params = RouteCreate { id: Some(Uuid::now_v7()), dry_run, ..desired.create_params() };
            client.call(method::ROUTES_CREATE, &params).await
        }
        Step::Update(route, desired) => {
            let params = RouteUpdate { dry_run, ..update_params(route, desired) };
            client.call(method::ROUTES_UPDATE, &params).await
        }
        Step::Delete(_) if dry_run => Ok(Value::Null),
        Step::Delete(route) => client.call(method::ROUTES_DELETE, &delete_params(route)).await,
    };
    result.map_err(CommandError::from)
}

fn plan_text(plan: &Plan) -> String {
    let mut lines: Vec<String> = plan.steps.iter().map(|step| printable(&step.text()).into_owned()).collect();
    lines.push(format!("= {} unchanged", plan.unchanged));
    lines.join("\n")
}

/// Returns the report: JSON has the plan and the results of its steps; the text, printed after the plan, has only the
/// results.
fn report(plan: &Plan, results: Option<&[Result<Value, CommandError>]>) -> Report {
    let steps: Vec<Value> = plan.steps.iter().map(Step::json).collect();
    let mut json = json!({ "plan": steps, "unchanged": plan.unchanged, "applied": results.is_some() });
    let Some(results) = results else { return Report::new(json, "Nothing was changed.".to_owned()) };
    let mut lines = Vec::new();
    let mut outcomes = Vec::new();
    for (step, result) in plan.steps.iter().zip(results) {
        let (done, host) = (step.past_verb(), step.host());
        outcomes.push(match result {
            Ok(route) => json!({ "host": host, "done": done, "route": route }),
            Err(failure) => failure_json(host, failure),
        });
        lines.extend(result.as_ref().err().map(|failure| failure_line(host, failure)));
    }
    json["results"] = outcomes.into();
    let count = |verb: &str| {
        let steps = plan.steps.iter().zip(results);
        steps.filter(|(step, result)| result.is_ok() && step.past_verb() == verb).count()
    };
    let counts = ["created", "updated", "deleted"].map(|verb| format!("{} {verb}", count(verb)));
    lines.push(format!("{}, {} unchanged", counts.join(", "), plan.unchanged));
    Report::new(json, lines.join("\n"))
}

fn failure_json(host: &str, failure: &CommandError) -> Value {
    json!({ "host": host, "error": { "kind": failure.identifier, "message": failure.message } })
}

fn failure_line(host: &str, failure: &CommandError) -> String {
    printable(&format!("! {host}: {}", failure.message)).into_owned()
}

/// Returns the first failure as the error, with the number of failed and skipped steps.
fn check_results(plan: &Plan, results: Vec<Result<Value, CommandError>>) -> Result<(), CommandError> {
    let failed = results.iter().filter(|result| result.is_err()).count();
    let skipped = plan.steps.len() - results.len();
    let hosts = plan.steps.iter().map(Step::host);
    let Some((host, first)) = hosts.zip(results).find_map(|(host, result)| Some((host, result.err()?)))
    else {
        return Ok(());
    };
    let skipped = if skipped > 0 { format!(", {skipped} were skipped") } else { String::new() };
    let message = format!(
        "{failed} of {} changes failed{skipped}; first failure: {host}: {}",
        plan.steps.len(),
        first.message
    );
    let hint = first.hint.as_ref().map_or_else(String::new, |hint| format!("{hint}; "));
    Err(CommandError { message, field: None, flag: None, ..first }
        .hint(format!("{hint}successful changes are kept; apply the file again to make the remaining ones")))
}

fn manifest_error(file: &Path, error: &ManifestError) -> CommandError {
    let name = if file == Path::new("-") { "stdin".into() } else { file.display().to_string() };
    CommandError::new(FailureKind::Usage, format!("{name}: {error}"))
        .flag(FLAG)
        .hint("write YAML or JSON such as {routes: [{subdomain: myapp, backends: ['[54f:1::2]:8080']}]}")
}
