//! The commands: each makes a report, or fails.

mod admin;
mod audit;
mod certificates;
mod explain;
mod import;
mod keys;
mod login;
mod nodes;
mod pages;
mod routes;
mod status;
mod wait;

use webgateway_proto::model::KeyId;

use crate::args::{Action, Call, Credentials, Endpoint};
use crate::cli::Format;
use crate::client::{Client, Signer, Trace};
use crate::fault::Fault;
use crate::output::{self, Report};

/// How to talk while a command runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) format: Format,
    pub(crate) verbose: bool,
}

/// Does what was asked for, and prints what came of it.
pub(crate) fn run(action: Action, manner: Manner) -> Result<(), Fault> {
    let report = match action {
        Action::GenerateKey(name) => keys::generate(&name),
        Action::VerifyAudit(file, head) => audit::verify_file(&file, head.as_deref()),
        Action::Import(request) => import::run(&request),
        Action::Health(endpoint) => status::health(&unsigned(endpoint, manner)),
        Action::Version(endpoint) => status::version(&unsigned(endpoint, manner), manner.format),
        Action::Login(endpoint, credentials, name) => {
            let client = signed(endpoint.clone(), credentials.clone(), manner)?;
            login::login(&client, (endpoint, credentials), &name)
        }
        Action::Signed(endpoint, credentials, call) => {
            let caller = credentials.id.clone();
            let client = signed(endpoint, credentials, manner)?;
            let Call::Awaited(call, limit) = call else {
                return run_call(&client, &caller, call)?.print(manner.format);
            };
            let report = run_call(&client, &caller, *call)?;
            let result = report.json().clone();
            // It is done, whatever becomes of the wait.
            report.print(manner.format)?;
            return wait::wait(&client, &result, limit, manner);
        }
    };
    report?.print(manner.format)
}

fn run_call(client: &Client, caller: &KeyId, call: Call) -> Result<Report, Fault> {
    match call {
        Call::Create(params) => routes::create(client, params),
        Call::List(params) => routes::list(client, caller, params),
        Call::Get(params) => routes::get(client, &params),
        Call::Update(params) => routes::update(client, &params),
        Call::Delete(params) => routes::delete(client, &params),
        Call::Explain(params) => explain::explain(client, &params),
        Call::Certificates => certificates::list(client),
        Call::Certificate(params) => certificates::get(client, &params),
        Call::Renew(params) => certificates::renew(client, &params),
        Call::Root => certificates::root(client),
        Call::Nodes => nodes::list(client),
        Call::Invite(params) => nodes::invite(client, &params),
        Call::Drain(params) => nodes::drain(client, &params),
        Call::Remove(params) => nodes::remove(client, &params),
        Call::Audit(params) => audit::list(client, &params),
        Call::VerifyAudit(head) => audit::verify(client, head.as_deref()),
        Call::ExportAudit(out) => audit::export(client, out.as_deref()),
        Call::Suspend(params) => admin::suspend(client, &params),
        Call::Unsuspend(params) => admin::unsuspend(client, &params),
        Call::Awaited(call, _) => run_call(client, caller, *call),
    }
}

fn unsigned(endpoint: Endpoint, manner: Manner) -> Client {
    Client { endpoint, signer: None, trace: Trace::new(manner.verbose) }
}

fn signed(endpoint: Endpoint, credentials: Credentials, manner: Manner) -> Result<Client, Fault> {
    let loaded = crate::keys::load(&credentials.key_file)?;
    if let Some(mode) = loaded.exposed {
        let file = credentials.key_file.display();
        let message = format!("-k/--key: {file} is open to others (mode {mode:04o}): chmod 600 {file}");
        output::warn(manner.format, &message);
    }
    if endpoint.is_exposed() {
        let message =
            format!("-u/--url: {endpoint} is plain http: answers can be read and changed on the way");
        output::warn(manner.format, &message);
    }
    let signer = Some(Signer { id: credentials.id, key: loaded.key });
    Ok(Client { endpoint, signer, trace: Trace::new(manner.verbose) })
}
