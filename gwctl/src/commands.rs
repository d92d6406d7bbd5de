//! The implementation of the commands. Most return a report of their result.

mod admin;
mod apply;
mod audit;
mod certificates;
mod explain;
mod import;
mod keys;
mod login;
mod nodes;
mod pages;
mod route_table;
mod routes;
mod selection;
mod shell;
mod status;
mod wait;
mod watch;

use gwctl::{Client, Endpoint, Signer};
use webgateway_proto::model::KeyId;

use crate::args::{Action, Call, Credentials};
use crate::error::CommandError;
use crate::output::{self, OutputOptions, Report};
use crate::trace::{RetryNotice, Trace};

/// Runs an action and prints its result.
pub(crate) async fn run(action: Action, options: OutputOptions) -> Result<(), CommandError> {
    let id = match &action {
        Action::Signed { credentials, .. } | Action::Login { credentials, .. } => {
            Some(credentials.id.clone())
        }
        _ => None,
    };
    run_action(action, options).await.map_err(|failure| match id {
        Some(id) if failure.identifier == "unknown_key" && !id.as_str().ends_with(".pub") => failure
            .hint(format!("give the name of the public key's file at the operator, probably -i {id}.pub")),
        _ => failure,
    })
}

async fn run_action(action: Action, options: OutputOptions) -> Result<(), CommandError> {
    let report = match action {
        Action::GenerateKey(name) => keys::generate(&name),
        Action::VerifyAudit { file, head } => audit::verify_file(&file, head.as_deref()),
        Action::Import(request) => import::run(&request),
        Action::Completions(shell) => shell::completions(shell),
        Action::Manual(out) => shell::man(out.as_deref()),
        Action::Health(endpoint) => status::health(&unsigned_client(endpoint, options)).await,
        Action::Version(endpoint) => {
            status::version(&unsigned_client(endpoint, options), options.format).await
        }
        Action::Login { endpoint, credentials, profile } => {
            let client = signed_client(endpoint.clone(), credentials.clone(), options)?;
            login::login(&client, &endpoint, &credentials, &profile).await
        }
        Action::Signed { endpoint, credentials, call } => {
            let caller = credentials.id.clone();
            let client = signed_client(endpoint, credentials, options)?;
            if let Call::Apply(flags) = &call {
                return apply::apply(&client, &caller, flags, options.format).await;
            }
            if let Call::Watch(params) = call {
                return watch::watch(client, &caller, params, options).await;
            }
            let Call::WithWait(call, limit) = call else {
                return run_call(&client, &caller, call, options).await?.print(options.format);
            };
            let report = run_call(&client, &caller, *call, options).await?;
            let result = report.json().clone();
            // The mutation has been made, even if the wait fails: print its result first.
            report.print(options.format)?;
            return wait::wait(&client, &result, limit, options).await;
        }
    };
    report?.print(options.format)
}

async fn run_call(
    client: &Client,
    caller: &KeyId,
    call: Call,
    options: OutputOptions,
) -> Result<Report, CommandError> {
    match call {
        Call::Create(params) => routes::create(client, params).await,
        Call::List(params) => routes::list(client, caller, params, options.format).await,
        Call::Get(route) => routes::get(client, caller, &route).await,
        Call::Update(route, params) => routes::update(client, caller, &route, *params).await,
        Call::Delete(route) => routes::delete(client, caller, &route).await,
        Call::Explain(params) => explain::explain(client, &params).await,
        Call::Certificates(params) => certificates::list(client, &params).await,
        Call::Certificate(params) => certificates::get(client, &params).await,
        Call::Renew(params) => certificates::renew(client, &params).await,
        Call::Root => certificates::root(client).await,
        Call::Nodes => nodes::list(client).await,
        Call::Invite(params) => nodes::invite(client, &params).await,
        Call::Drain(params) => nodes::drain(client, &params).await,
        Call::Remove(params) => nodes::remove(client, &params).await,
        Call::Audit(params) => audit::list(client, &params).await,
        Call::VerifyAudit(head) => audit::verify(client, head.as_deref()).await,
        Call::ExportAudit(out) => audit::export(client, out.as_deref()).await,
        Call::Suspend(params) => admin::suspend(client, &params).await,
        Call::Unsuspend(params) => admin::unsuspend(client, &params).await,
        Call::Users(params) => admin::users(client, &params).await,
        Call::Quota(params) => admin::quota(client, &params).await,
        // `run` handles these two, because they print while they run.
        Call::Apply(_) | Call::Watch(_) => Ok(Report::empty()),
        Call::WithWait(call, _) => Box::pin(run_call(client, caller, *call, options)).await,
    }
}

/// Returns a client that neither signs nor retries, because `health` and `version` must show the current state.
fn unsigned_client(endpoint: Endpoint, options: OutputOptions) -> Client {
    let client = Client::new(endpoint);
    if options.verbose {
        client.observed_by(Trace)
    } else {
        client.observed_by(RetryNotice::delayed(options.format))
    }
}

/// Returns a client that signs and retries. Warns first if other users can access the key file, or read and change the
/// responses.
fn signed_client(
    endpoint: Endpoint,
    credentials: Credentials,
    options: OutputOptions,
) -> Result<Client, CommandError> {
    let loaded = gwctl::keys::load(&credentials.key_file)?;
    if let Some(mode) = loaded.exposed {
        let file = credentials.key_file.display();
        let message =
            format!("-k/--key: other users can access {file} (mode {mode:04o}): run chmod 600 {file}");
        output::warn(options.format, &message);
    }
    if endpoint.is_exposed() {
        let message = format!(
            "-u/--url: {endpoint} is plain http: others on the network can read and change responses"
        );
        output::warn(options.format, &message);
    }
    let client = unsigned_client(endpoint, options).signed_by(Signer::new(credentials.id, loaded.key));
    Ok(client.retry_for(options.retry_for))
}
