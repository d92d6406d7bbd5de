//! The conversion of `gwctl routes …` into API params.

use ipnet::{Ipv4Net, Ipv6Net};
use webgateway_proto::api::{ExplainParams, RouteCreate, RouteListParams, RouteUpdate};
use webgateway_proto::model::{Backends, Host, InvalidBackendsError, Mode, Prefixes, RouteId, RouteOptions};

use super::error::ArgError;
use crate::cli;

/// The selection of one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RouteSelector {
    /// The route with this id.
    Id(RouteId),
    /// The route of this host.
    Host(Host),
}

/// Returns the params for `gwctl routes create`.
pub(super) fn create(flags: &cli::Create) -> Result<RouteCreate, ArgError> {
    let (fqdn, subdomain) = parse_hosts(flags.fqdn.as_deref(), flags.subdomain.as_deref())?;
    if flags.tls_pass && subdomain.is_some() {
        return Err(ArgError::PassthroughSubdomain);
    }
    let (mode, options) = (mode(flags.tls_pass), RouteOptions::default().patched(flags.options.patch()?));
    options.check_fits(mode)?;
    Ok(RouteCreate {
        fqdn,
        subdomain,
        backends: parse_backends(&flags.backend)?,
        mode,
        options,
        id: None,
        dry_run: flags.dry_run,
    })
}

/// Returns the params for `gwctl routes update`, without the route's id.
pub(super) fn update(flags: &cli::Update) -> Result<RouteUpdate, ArgError> {
    let (fqdn, subdomain) = parse_hosts(flags.fqdn.as_deref(), flags.subdomain.as_deref())?;
    if flags.tls_pass == Some(true) && subdomain.is_some() {
        return Err(ArgError::PassthroughSubdomain);
    }
    let backends = if flags.backend.is_empty() { None } else { Some(parse_backends(&flags.backend)?) };
    let mode = flags.tls_pass.map(mode);
    let options = flags.reset.add_to(flags.options.patch()?);
    if let Some(mode) = mode {
        RouteOptions::default().patched(options.clone()).check_fits(mode)?;
    }
    let update = RouteUpdate { fqdn, subdomain, backends, mode, options, ..RouteUpdate::default() };
    if update == RouteUpdate::default() {
        return Err(ArgError::NoChange);
    }
    Ok(RouteUpdate { dry_run: flags.dry_run, ..update })
}

/// Returns the params for `gwctl routes list`.
pub(super) fn filter(flags: cli::RouteFilter) -> RouteListParams {
    let cli::RouteFilter { host, owner, mode, limit, .. } = flags;
    let mode = mode.map(to_model_mode);
    RouteListParams { host, owner, mode, limit, ..RouteListParams::default() }
}

const fn to_model_mode(chosen: cli::Mode) -> Mode {
    match chosen {
        cli::Mode::Terminate => Mode::Terminate,
        cli::Mode::Passthrough => Mode::Passthrough,
    }
}

/// Parses the argument that selects a route: a host if it has a dot, otherwise an id.
pub(super) fn selector(flags: &cli::RouteArg) -> Result<RouteSelector, ArgError> {
    let text = flags.text();
    if text.contains('.') || text.contains("://") {
        return pasted_host(text).map(RouteSelector::Host);
    }
    Ok(RouteSelector::Id(text.parse()?))
}

/// Returns the params for `gwctl routes explain`.
pub(super) fn explain(host: &str) -> Result<ExplainParams, ArgError> {
    Ok(ExplainParams { host: pasted_host(host)?.into() })
}

/// Parses a host. Users may paste a URL from the browser.
fn pasted_host(text: &str) -> Result<Host, ArgError> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
    let host = host.split(['/', '?', '#']).next().unwrap_or(host);
    Host::parse(host).map_err(ArgError::Host)
}

/// Parses and normalises `--fqdn` and `--subdomain`.
fn parse_hosts(
    fqdn: Option<&str>,
    subdomain: Option<&str>,
) -> Result<(Option<String>, Option<String>), ArgError> {
    let fqdn = fqdn.map(|text| Host::parse(text).map(String::from).map_err(ArgError::Fqdn));
    Ok((fqdn.transpose()?, subdomain.map(parse_label).transpose()?))
}

/// Parses and normalises a subdomain. Only the gateway knows the base domain, so a placeholder stands for it.
pub(crate) fn parse_label(text: &str) -> Result<String, ArgError> {
    let invalid = || ArgError::Subdomain(text.to_owned());
    let host = Host::parse("base.example").and_then(|base| base.child(text)).map_err(|_| invalid())?;
    let (label, _) = host.as_str().split_once('.').ok_or_else(invalid)?;
    Ok(label.to_owned())
}

/// Parses and normalises backends. Only the gateway knows the allowed prefixes, so any address is accepted.
pub(crate) fn parse_backends(texts: &[String]) -> Result<Vec<String>, InvalidBackendsError> {
    let any_prefix = Prefixes::new(vec![Ipv4Net::default().into(), Ipv6Net::default().into()]);
    let backends = Backends::parse(texts, &any_prefix)?;
    Ok(backends.as_slice().iter().map(ToString::to_string).collect())
}

const fn mode(tls_pass: bool) -> Mode {
    if tls_pass { Mode::Passthrough } else { Mode::Terminate }
}
