//! The flags of `gwctl routes …` as params of the API.

use ipnet::{Ipv4Net, Ipv6Net};
use webgateway_proto::api::{
    ExplainParams, RouteCreate, RouteDelete, RouteListParams, RouteRef, RouteUpdate,
};
use webgateway_proto::model::{Backends, Host, InvalidBackends, Mode, Prefixes, RouteId, RouteOptions};

use super::invalid::InvalidArg;
use crate::cli;

/// `gwctl routes create`
pub(super) fn create(flags: &cli::Create) -> Result<RouteCreate, InvalidArg> {
    let (fqdn, subdomain) = host(flags.fqdn.as_deref(), flags.subdomain.as_deref())?;
    if flags.tls_pass && subdomain.is_some() {
        return Err(InvalidArg::PassthroughSubdomain);
    }
    let (mode, options) = (mode(flags.tls_pass), RouteOptions::default().patched(flags.options.patch()?));
    options.check_fits(mode)?;
    Ok(RouteCreate {
        fqdn,
        subdomain,
        backends: backends(&flags.backend)?,
        mode,
        options,
        id: None,
        dry_run: flags.dry_run,
    })
}

/// `gwctl routes update`
pub(super) fn update(flags: &cli::Update) -> Result<RouteUpdate, InvalidArg> {
    let RouteRef { id } = reference(&flags.route)?;
    let (fqdn, subdomain) = host(flags.fqdn.as_deref(), flags.subdomain.as_deref())?;
    if flags.tls_pass == Some(true) && subdomain.is_some() {
        return Err(InvalidArg::PassthroughSubdomain);
    }
    let backends = if flags.backend.is_empty() { None } else { Some(backends(&flags.backend)?) };
    let mode = flags.tls_pass.map(mode);
    let options = flags.reset.add_to(flags.options.patch()?);
    if let Some(mode) = mode {
        RouteOptions::default().patched(options.clone()).check_fits(mode)?;
    }
    let unchanged = RouteUpdate { id, ..RouteUpdate::default() };
    let update = RouteUpdate { fqdn, subdomain, backends, mode, options, ..unchanged.clone() };
    if update == unchanged {
        return Err(InvalidArg::NoChange);
    }
    Ok(RouteUpdate { dry_run: flags.dry_run, ..update })
}

/// `gwctl routes list`
pub(super) fn filter(flags: cli::RouteFilter) -> RouteListParams {
    let cli::RouteFilter { host, owner, mode, limit, .. } = flags;
    let mode = mode.map(mode_of);
    RouteListParams { host, owner, mode, limit, ..RouteListParams::default() }
}

const fn mode_of(chosen: cli::Mode) -> Mode {
    match chosen {
        cli::Mode::Terminate => Mode::Terminate,
        cli::Mode::Passthrough => Mode::Passthrough,
    }
}

/// `--route`
pub(super) fn reference(flags: &cli::Route) -> Result<RouteRef, InvalidArg> {
    let id: RouteId = flags.route.parse()?;
    Ok(RouteRef { id: id.to_string() })
}

/// `gwctl routes delete`
pub(super) fn delete(flags: &cli::Route) -> Result<RouteDelete, InvalidArg> {
    Ok(RouteDelete { id: reference(flags)?.id, expected_version: None })
}

/// `gwctl routes explain`
pub(super) fn explain(host: &str) -> Result<ExplainParams, InvalidArg> {
    // A URL is what a browser shows.
    let host = host.strip_prefix("https://").unwrap_or(host).trim_end_matches('/');
    let host = Host::parse(host).map_err(InvalidArg::Host)?;
    Ok(ExplainParams { host: host.into() })
}

/// `--fqdn` and `--subdomain` in their normal forms.
fn host(fqdn: Option<&str>, subdomain: Option<&str>) -> Result<(Option<String>, Option<String>), InvalidArg> {
    let fqdn = fqdn.map(|text| Host::parse(text).map(String::from).map_err(InvalidArg::Fqdn));
    Ok((fqdn.transpose()?, subdomain.map(label).transpose()?))
}

/// One label as it is below any base domain; which one that is only the gateway knows.
pub(crate) fn label(text: &str) -> Result<String, InvalidArg> {
    let invalid = || InvalidArg::Subdomain(text.to_owned());
    let host = Host::parse("base.example").and_then(|base| base.child(text)).map_err(|_| invalid())?;
    let (label, _) = host.as_str().split_once('.').ok_or_else(invalid)?;
    Ok(label.to_owned())
}

/// The backends in their normal form; which prefixes are allowed only the gateway knows.
pub(crate) fn backends(texts: &[String]) -> Result<Vec<String>, InvalidBackends> {
    let any = Prefixes::new(vec![Ipv4Net::default().into(), Ipv6Net::default().into()]);
    let backends = Backends::parse(texts, &any)?;
    Ok(backends.as_slice().iter().map(ToString::to_string).collect())
}

const fn mode(tls_pass: bool) -> Mode {
    if tls_pass { Mode::Passthrough } else { Mode::Terminate }
}
