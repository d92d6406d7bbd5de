//! `gwctl routes apply`: reads what shall be, shows what that takes, asks, and does it.

use std::io::{IsTerminal, Write, stderr, stdin};
use std::path::Path;

use gwctl::Client;
use serde_json::{Value, json};
use uuid::Uuid;
use webgateway_proto::api::{BuildInfo, RouteCreate, RouteList, RouteListParams, method};
use webgateway_proto::model::KeyId;

use super::import::read;
use super::pages;
use crate::cli::{Apply, Format};
use crate::error::{CommandError, Kind};
use crate::manifest::{Desired, InvalidManifest, Place, parse, refuse_twins};
use crate::output::Report;
use crate::plan::{Plan, Step, delete, plan, update};
use crate::printable::printable;

const FLAG: &str = "-f/--file";

/// `gwctl routes apply`. One change that fails keeps back the deletions, which come last, and no other; the first
/// failure gives the exit code.
pub(super) async fn apply(
    client: &Client,
    caller: &KeyId,
    flags: &Apply,
    format: Format,
) -> Result<(), CommandError> {
    let mut desired = parse(&read(&flags.file, FLAG)?).map_err(|error| invalid_manifest(&error))?;
    place(client, &mut desired).await?;
    refuse_twins(&desired).map_err(|error| invalid_manifest(&error))?;
    let plan = plan(&desired, &own_routes(client, caller).await?, flags.prune);
    let is_for_people = format == Format::Table;
    if is_for_people {
        Report::new(json!({}), text(&plan)).print(format)?;
    }
    if plan.steps.is_empty() || flags.dry_run {
        return if is_for_people { Ok(()) } else { report(&plan, None).print(format) };
    }
    if !flags.yes && !agreed(&plan, &flags.file, is_for_people)? {
        return report(&plan, None).print(if is_for_people { Format::Table } else { format });
    }
    let mut results = Vec::new();
    for step in &plan.steps {
        // What was to come in its place may be what failed.
        if matches!(step, Step::Delete(_)) && results.iter().any(Result::is_err) {
            break;
        }
        let result = carry_out(client, step).await;
        // Where nobody answers, the others would only wait as long.
        let is_away = result.as_ref().is_err_and(|failure| failure.kind == Kind::Unreachable);
        results.push(result);
        if is_away {
            break;
        }
    }
    report(&plan, Some(&results)).print(format)?;
    outcome(&plan, results)
}

/// Gives every place its whole host. Only the gateway knows what a subdomain is below.
async fn place(client: &Client, desired: &mut [Desired]) -> Result<(), CommandError> {
    if desired.iter().all(|route| matches!(route.place, Place::Host(_))) {
        return Ok(());
    }
    let build: BuildInfo = client.call(method::VERSION, &json!({})).await?;
    let base = build.base_domain.ok_or_else(|| {
        CommandError::new(
            Kind::Unexpected,
            "the gateway is too old to say which domain its subdomains are below",
        )
        .hint("write the whole host, as `host`, instead of `subdomain`")
    })?;
    for route in desired {
        route.place = route.place.clone().under(&base);
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
    let list: Value = pages::all("routes", None, page).await?;
    let list: RouteList = serde_json::from_value(list).map_err(|error| {
        CommandError::new(Kind::Unexpected, format!("the gateway's answer is not understood: {error}"))
    })?;
    Ok(list.routes)
}

/// Asks on the terminal; who has none must have said `--yes`.
fn agreed(plan: &Plan, file: &Path, is_shown: bool) -> Result<bool, CommandError> {
    if file == Path::new("-") || !stdin().is_terminal() || !stderr().is_terminal() {
        let message = "there is no terminal to ask on, so nothing was done";
        return Err(CommandError::new(Kind::Usage, message)
            .flag("-y/--yes")
            .hint("give --yes to apply without being asked, or --dry-run to see the plan alone"));
    }
    let plan = if is_shown { String::new() } else { text(plan) + "\n" };
    // Who does not see the question does not answer it.
    let _ = write!(stderr(), "{plan}Apply? [y/N] ").and_then(|()| stderr().flush());
    let mut answer = String::new();
    let _ = stdin().read_line(&mut answer);
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

async fn carry_out(client: &Client, step: &Step) -> Result<Value, CommandError> {
    let done = match step {
        Step::Create(wanted) => {
            let params = RouteCreate { id: Some(Uuid::now_v7()), ..wanted.create() };
            client.call(method::ROUTES_CREATE, &params).await
        }
        Step::Update(route, wanted) => client.call(method::ROUTES_UPDATE, &update(route, wanted)).await,
        Step::Delete(route) => client.call(method::ROUTES_DELETE, &delete(route)).await,
    };
    done.map_err(CommandError::from)
}

fn text(plan: &Plan) -> String {
    let mut lines: Vec<String> = plan.steps.iter().map(|step| printable(&step.line()).into_owned()).collect();
    lines.push(format!("= {} unchanged", plan.unchanged));
    lines.join("\n")
}

/// The plan, and what came of it if it was carried out; for people, who saw the plan, the latter alone.
fn report(plan: &Plan, results: Option<&[Result<Value, CommandError>]>) -> Report {
    let steps: Vec<Value> = plan.steps.iter().map(Step::json).collect();
    let mut json = json!({ "plan": steps, "unchanged": plan.unchanged, "applied": results.is_some() });
    let Some(results) = results else { return Report::new(json, "Nothing was changed.".to_owned()) };
    let mut lines = Vec::new();
    let mut told = Vec::new();
    for (step, result) in plan.steps.iter().zip(results) {
        let (done, host) = (step.words().1, step.host());
        told.push(match result {
            Ok(route) => json!({ "host": host, "done": done, "route": route }),
            Err(failure) => {
                json!({ "host": host, "error": { "kind": failure.word, "message": failure.message } })
            }
        });
        lines.extend(result.as_ref().err().map(|failure| format!("! {host}: {}", failure.message)));
    }
    json["results"] = told.into();
    let count = |word: &str| {
        let done =
            plan.steps.iter().zip(results).filter(|(step, result)| result.is_ok() && step.words().1 == word);
        done.count()
    };
    let done = ["created", "updated", "deleted"].map(|word| format!("{} {word}", count(word)));
    lines.push(format!("{}, {} unchanged", done.join(", "), plan.unchanged));
    let lines: Vec<_> = lines.iter().map(|line| printable(line)).collect();
    Report::new(json, lines.join("\n"))
}

fn outcome(plan: &Plan, results: Vec<Result<Value, CommandError>>) -> Result<(), CommandError> {
    let failed = results.iter().filter(|result| result.is_err()).count();
    let untried = plan.steps.len() - results.len();
    let hosts = plan.steps.iter().map(Step::host);
    let Some((host, first)) = hosts.zip(results).find_map(|(host, result)| Some((host, result.err()?)))
    else {
        return Ok(());
    };
    let untried = if untried > 0 { format!(", {untried} were not tried") } else { String::new() };
    let message = format!(
        "{failed} of {} changes failed{untried}; the first, {host}: {}",
        plan.steps.len(),
        first.message
    );
    let hint = first.hint.as_ref().map_or_else(String::new, |hint| format!("{hint}; "));
    Err(CommandError { message, field: None, flag: None, ..first }
        .hint(format!("{hint}what was done stays, and applying again does the rest")))
}

fn invalid_manifest(error: &InvalidManifest) -> CommandError {
    CommandError::new(Kind::Usage, error)
        .flag(FLAG)
        .hint("such as: {routes: [{subdomain: myapp, backends: ['[54f:1::2]:8080']}]}, in YAML or JSON")
}
