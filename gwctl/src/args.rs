//! The conversion of parsed command lines into validated actions and API params.

mod admin;
mod call;
mod credentials;
mod error;
mod nodes;
mod routes;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use gwctl::Endpoint;
use gwctl::keys::KeyName;
use webgateway_proto::api::{AuditListParams, CertificateListParams, CertificateRef};
use webgateway_proto::model::Host;

pub(crate) use self::call::Call;
pub(crate) use self::credentials::Credentials;
pub(crate) use self::error::ArgError;
pub(crate) use self::routes::{RouteSelector, parse_backends, parse_label};
use crate::cli::{self, Audit, Certificates, Command, Global, Keys, Routes};
pub(crate) use crate::cli::{Import, Shell};
use crate::profiles::DEFAULT_NAME;

/// A command with validated arguments.
#[derive(Debug)]
pub(crate) enum Action {
    /// Generates a key pair.
    GenerateKey(KeyName),
    /// Converts the configuration of webgateway's predecessor, a Caddy module.
    Import(Import),
    /// Prints a shell's completion script.
    Completions(Shell),
    /// Prints the manual page, or writes all pages to a directory.
    Manual(Option<PathBuf>),
    /// Verifies an exported audit log, and that it contains a record with the hash `head`.
    VerifyAudit { file: PathBuf, head: Option<String> },
    /// Checks the gateway's health.
    Health(Endpoint),
    /// Shows the versions of gwctl and the controlplane.
    Version(Endpoint),
    /// Checks gateway and key, and saves them as a profile.
    Login { endpoint: Endpoint, credentials: Credentials, profile: String },
    /// Calls a method that requires a signature.
    Signed { endpoint: Endpoint, credentials: Credentials, call: Call },
}

impl Action {
    /// Validates the command and the global flags that it uses.
    pub(crate) fn parse(global: &Global, command: Command) -> Result<Self, ArgError> {
        let call = match command {
            Command::Keys(Keys::Generate { name }) => return Ok(Self::GenerateKey(KeyName::parse(&name)?)),
            Command::Import(import) => return Ok(Self::Import(import)),
            Command::Completions(flags) => return Ok(Self::Completions(flags.shell)),
            Command::Man(flags) => return Ok(Self::Manual(flags.out)),
            Command::Audit(Audit::Verify { file: Some(file), head }) => {
                return Ok(Self::VerifyAudit { file, head });
            }
            Command::Audit(command) => audit_call(command),
            Command::Health => return Ok(Self::Health(Endpoint::parse(global.url())?)),
            Command::Version => return Ok(Self::Version(Endpoint::parse(global.url())?)),
            Command::Login => {
                let (endpoint, credentials) = endpoint_and_credentials(global)?;
                let profile = global.profile.clone().unwrap_or_else(|| DEFAULT_NAME.to_owned());
                return Ok(Self::Login { endpoint, credentials, profile });
            }
            Command::Routes(command) => route_call(command)?,
            Command::Certificates(command) => certificate_call(command)?,
            Command::Nodes(command) => nodes::call(command)?,
            Command::Admin(command) => admin::call(command)?,
        };
        let (endpoint, credentials) = endpoint_and_credentials(global)?;
        Ok(Self::Signed { endpoint, credentials, call })
    }
}

fn endpoint_and_credentials(global: &Global) -> Result<(Endpoint, Credentials), ArgError> {
    let endpoint = Endpoint::parse(global.url())?;
    Ok((endpoint, Credentials::parse(global.id.as_deref(), global.key.as_deref())?))
}

fn route_call(command: Routes) -> Result<Call, ArgError> {
    match command {
        Routes::Create(create) => Ok(Call::Create(routes::create(&create)?).with_wait(&create.wait)),
        Routes::List(flags) if flags.watch => Ok(Call::Watch(routes::filter(flags))),
        Routes::List(flags) => Ok(Call::List(routes::filter(flags))),
        Routes::Get(route) => routes::selector(&route).map(Call::Get),
        Routes::Update(flags) => {
            let route = routes::selector(&flags.route)?;
            Ok(Call::Update(route, Box::new(routes::update(&flags)?)).with_wait(&flags.wait))
        }
        Routes::Delete(flags) => Ok(Call::Delete(routes::selector(&flags.route)?).with_wait(&flags.wait)),
        Routes::Apply(flags) => Ok(Call::Apply(flags)),
        Routes::Explain { host } => routes::explain(&host).map(Call::Explain),
    }
}

fn certificate_call(command: Certificates) -> Result<Call, ArgError> {
    match command {
        Certificates::List(flags) => {
            Ok(Call::Certificates(CertificateListParams { limit: flags.limit, cursor: None }))
        }
        Certificates::Get(certificate) => certificate_ref(&certificate).map(Call::Certificate),
        Certificates::Renew(certificate) => certificate_ref(&certificate).map(Call::Renew),
        Certificates::Root => Ok(Call::Root),
    }
}

/// Parses `--certificate`.
fn certificate_ref(flags: &cli::CertificateArg) -> Result<CertificateRef, ArgError> {
    let id = Host::parse(&flags.certificate).map_err(ArgError::Certificate)?;
    Ok(CertificateRef { id: id.to_string() })
}

fn audit_call(command: Audit) -> Call {
    match command {
        Audit::List { limit, before, caller, target } => {
            Call::Audit(AuditListParams { limit, before, caller, target })
        }
        Audit::Verify { head, .. } => Call::VerifyAudit(head),
        Audit::Export { out } => Call::ExportAudit(out),
    }
}
