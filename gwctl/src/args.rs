//! The command line's meaning: what is here was parsed and is valid, as far as this side can know.

mod admin;
mod call;
mod credentials;
mod invalid;
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
pub(crate) use self::invalid::InvalidArg;
pub(crate) use self::routes::{backends, label};
use crate::cli::{self, Audit, Certificates, Command, Global, Keys, Routes};
pub(crate) use crate::cli::{Import, Shell};
use crate::profiles::DEFAULT_NAME;

/// A command with all that it needs.
#[derive(Debug)]
pub(crate) enum Action {
    /// Make a key pair.
    GenerateKey(KeyName),
    /// Turn the predecessor's configuration into ours.
    Import(Import),
    /// Print what a shell reads.
    Completions(Shell),
    /// Print the manual, or write it.
    Manual(Option<PathBuf>),
    /// Check an exported audit, and that it holds an earlier head.
    VerifyAudit { file: PathBuf, head: Option<String> },
    /// Ask whether the gateway works.
    Health(Endpoint),
    /// Show the versions.
    Version(Endpoint),
    /// Keep gateway and key under a name.
    Login { endpoint: Endpoint, credentials: Credentials, profile: String },
    /// Call a method that must be signed.
    Signed { endpoint: Endpoint, credentials: Credentials, call: Call },
}

impl Action {
    /// Reads the command and those of the global flags that it needs.
    pub(crate) fn parse(global: &Global, command: Command) -> Result<Self, InvalidArg> {
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
                let (endpoint, credentials) = signed(global)?;
                let profile = global.profile.clone().unwrap_or_else(|| DEFAULT_NAME.to_owned());
                return Ok(Self::Login { endpoint, credentials, profile });
            }
            Command::Routes(command) => route_call(command)?,
            Command::Certificates(command) => certificate_call(command)?,
            Command::Nodes(command) => nodes::call(command)?,
            Command::Admin(command) => admin::call(command)?,
        };
        let (endpoint, credentials) = signed(global)?;
        Ok(Self::Signed { endpoint, credentials, call })
    }
}

fn signed(global: &Global) -> Result<(Endpoint, Credentials), InvalidArg> {
    let endpoint = Endpoint::parse(global.url())?;
    Ok((endpoint, Credentials::parse(global.id.as_deref(), global.key.as_deref())?))
}

fn route_call(command: Routes) -> Result<Call, InvalidArg> {
    match command {
        Routes::Create(create) => Ok(Call::Create(routes::create(&create)?).awaited(&create.wait)),
        Routes::List(flags) if flags.watch => Ok(Call::Watch(routes::filter(flags))),
        Routes::List(flags) => Ok(Call::List(routes::filter(flags))),
        Routes::Get(route) => routes::reference(&route).map(Call::Get),
        Routes::Update(update) => Ok(Call::Update(routes::update(&update)?).awaited(&update.wait)),
        Routes::Delete(flags) => Ok(Call::Delete(routes::delete(&flags.route)?).awaited(&flags.wait)),
        Routes::Apply(flags) => Ok(Call::Apply(flags)),
        Routes::Explain { host } => routes::explain(&host).map(Call::Explain),
    }
}

fn certificate_call(command: Certificates) -> Result<Call, InvalidArg> {
    match command {
        Certificates::List(most) => {
            Ok(Call::Certificates(CertificateListParams { limit: most.limit, cursor: None }))
        }
        Certificates::Get(certificate) => certificate_ref(&certificate).map(Call::Certificate),
        Certificates::Renew(certificate) => certificate_ref(&certificate).map(Call::Renew),
        Certificates::Root => Ok(Call::Root),
    }
}

/// `--certificate`
fn certificate_ref(flags: &cli::Certificate) -> Result<CertificateRef, InvalidArg> {
    let id = Host::parse(&flags.certificate).map_err(InvalidArg::Certificate)?;
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
