//! The flags of `gwctl routes …` as params of the API.

use ipnet::{Ipv4Net, Ipv6Net};
use webgateway_proto::api::{RouteCreate, RouteRef, RouteUpdate};
use webgateway_proto::model::{Backends, Balance, Host, InvalidBackends, Mode, Prefixes, RouteId};

use super::InvalidArg;
use crate::cli;

/// `gwctl routes create`
pub(super) fn create(flags: cli::Create) -> Result<RouteCreate, InvalidArg> {
    let (fqdn, subdomain) = host(flags.fqdn.as_deref(), flags.subdomain.as_deref())?;
    if flags.tls_pass && subdomain.is_some() {
        return Err(InvalidArg::PassthroughSubdomain);
    }
    Ok(RouteCreate {
        fqdn,
        subdomain,
        backends: backends(&flags.backend)?,
        balance: balance(flags.method),
        mode: mode(flags.tls_pass),
        id: None,
    })
}

/// `gwctl routes update`
pub(super) fn update(flags: cli::Update) -> Result<RouteUpdate, InvalidArg> {
    let RouteRef { id } = reference(&flags.route)?;
    let (fqdn, subdomain) = host(flags.fqdn.as_deref(), flags.subdomain.as_deref())?;
    if flags.tls_pass == Some(true) && subdomain.is_some() {
        return Err(InvalidArg::PassthroughSubdomain);
    }
    let backends = if flags.backend.is_empty() { None } else { Some(backends(&flags.backend)?) };
    let balance = flags.method.map(balance);
    let mode = flags.tls_pass.map(mode);
    let unchanged = RouteUpdate { id: id.clone(), ..RouteUpdate::default() };
    let update = RouteUpdate { id, fqdn, subdomain, backends, balance, mode, expected_version: None };
    if update == unchanged { Err(InvalidArg::NoChange) } else { Ok(update) }
}

/// `--route`
pub(super) fn reference(flags: &cli::Route) -> Result<RouteRef, InvalidArg> {
    let id: RouteId = flags.route.parse()?;
    Ok(RouteRef { id: id.to_string() })
}

/// `--fqdn` and `--subdomain` in their normal forms.
fn host(fqdn: Option<&str>, subdomain: Option<&str>) -> Result<(Option<String>, Option<String>), InvalidArg> {
    let fqdn = fqdn.map(|text| Host::parse(text).map(String::from).map_err(InvalidArg::Fqdn));
    Ok((fqdn.transpose()?, subdomain.map(label).transpose()?))
}

/// One label as it is below any base domain; which one that is only the gateway knows.
fn label(text: &str) -> Result<String, InvalidArg> {
    let invalid = || InvalidArg::Subdomain(text.to_owned());
    let host = Host::parse("base.example").and_then(|base| base.child(text)).map_err(|_| invalid())?;
    let (label, _) = host.as_str().split_once('.').ok_or_else(invalid)?;
    Ok(label.to_owned())
}

/// The backends in their normal form; which prefixes are allowed only the gateway knows.
fn backends(texts: &[String]) -> Result<Vec<String>, InvalidBackends> {
    let any = Prefixes::new(vec![Ipv4Net::default().into(), Ipv6Net::default().into()]);
    let backends = Backends::parse(texts, &any)?;
    Ok(backends.as_slice().iter().map(ToString::to_string).collect())
}

const fn balance(method: cli::Method) -> Balance {
    match method {
        cli::Method::RoundRobin => Balance::RoundRobin,
        cli::Method::Random => Balance::Random,
    }
}

const fn mode(tls_pass: bool) -> Mode {
    if tls_pass { Mode::Passthrough } else { Mode::Terminate }
}
