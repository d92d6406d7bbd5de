//! The file of routes for `gwctl routes apply`.

use serde::Deserialize;
use serde::de::IgnoredAny;
use thiserror::Error;
use webgateway_proto::api::RouteCreate;
use webgateway_proto::model::{Host, Mode, RouteOptions};

use crate::args::{ArgError, parse_backends, parse_label};

/// The file cannot be applied.
#[derive(Debug, Error)]
pub(crate) enum ManifestError {
    /// The file is not YAML or JSON of the expected structure. The message has the line and the field.
    #[error("{0}")]
    Yaml(String),
    /// A route is invalid.
    #[error("route {number} ({name}): {reason}")]
    Route { number: usize, name: String, reason: ManifestRouteError },
}

/// A route of the file is invalid.
#[derive(Debug, Error)]
pub(crate) enum ManifestRouteError {
    /// The route has no host or several.
    #[error("a route needs exactly one of `subdomain`, `fqdn` and `host`")]
    HostFields,
    /// A value is invalid, as it would be for a flag.
    #[error("{0}")]
    Value(#[from] ArgError),
    /// Two routes have the same host.
    #[error("duplicate host: route {0} has the same one")]
    DuplicateHost(usize),
}

/// A route of the file, validated and normalised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DesiredRoute {
    pub(crate) host: HostSpec,
    pub(crate) backends: Vec<String>,
    pub(crate) mode: Mode,
    pub(crate) options: RouteOptions,
}

/// The host of a route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum HostSpec {
    /// A subdomain of the gateway's base domain.
    Subdomain(String),
    /// A full host name.
    Host(String),
}

/// The file's structure.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    routes: Vec<ManifestRoute>,
    #[serde(default, rename = "version")]
    _version: IgnoredAny,
}

/// A route in the file: the params of `routes.create`, and the other fields that `routes.list` returns, which are
/// ignored.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestRoute {
    subdomain: Option<String>,
    fqdn: Option<String>,
    host: Option<String>,
    backends: Vec<String>,
    #[serde(default)]
    mode: Mode,
    #[serde(flatten)]
    options: RouteOptions,
    #[serde(default, rename = "id")]
    _id: IgnoredAny,
    #[serde(default, rename = "owner")]
    _owner: IgnoredAny,
    #[serde(default, rename = "state")]
    _state: IgnoredAny,
    #[serde(default, rename = "reason")]
    _reason: IgnoredAny,
    #[serde(default, rename = "records")]
    _records: IgnoredAny,
    #[serde(default, rename = "version")]
    _version: IgnoredAny,
    #[serde(default, rename = "created_at")]
    _created_at: IgnoredAny,
    #[serde(default, rename = "updated_at")]
    _updated_at: IgnoredAny,
}

/// Parses a file of routes. Subdomains remain to be completed with the base domain.
pub(crate) fn parse(text: &str) -> Result<Vec<DesiredRoute>, ManifestError> {
    let manifest: Manifest = serde_saphyr::from_str(text).map_err(|error| yaml_error(&error))?;
    let parse = |(index, entry): (usize, ManifestRoute)| {
        let name = [&entry.subdomain, &entry.fqdn, &entry.host].into_iter().flatten().next().cloned();
        let error = |reason| ManifestError::Route {
            number: index + 1,
            name: name.unwrap_or_else(|| "without a host".to_owned()),
            reason,
        };
        parse_route(entry).map_err(error)
    };
    manifest.routes.into_iter().enumerate().map(parse).collect()
}

/// Returns the error of a file that cannot be read, without the excerpt of the file that the library shows.
fn yaml_error(error: &serde_saphyr::Error) -> ManifestError {
    ManifestError::Yaml(error.without_snippet().to_string())
}

/// Rejects duplicate hosts. All hosts must have been completed with the base domain.
pub(crate) fn check_duplicates(routes: &[DesiredRoute]) -> Result<(), ManifestError> {
    for (index, route) in routes.iter().enumerate() {
        if let Some(first) = routes[..index].iter().position(|other| other.host == route.host) {
            let reason = ManifestRouteError::DuplicateHost(first + 1);
            return Err(ManifestError::Route {
                number: index + 1,
                name: route.host.as_str().to_owned(),
                reason,
            });
        }
    }
    Ok(())
}

fn parse_route(entry: ManifestRoute) -> Result<DesiredRoute, ManifestRouteError> {
    let ManifestRoute { mode, options, .. } = entry;
    let host = match (entry.subdomain, entry.fqdn, entry.host) {
        (Some(name), None, None) => HostSpec::Subdomain(parse_label(&name)?),
        (None, Some(host), None) | (None, None, Some(host)) => {
            HostSpec::Host(Host::parse(&host).map_err(ArgError::Fqdn)?.into())
        }
        _ => return Err(ManifestRouteError::HostFields),
    };
    if mode == Mode::Passthrough && matches!(host, HostSpec::Subdomain(_)) {
        return Err(ArgError::PassthroughSubdomain.into());
    }
    options.check_fits(mode).map_err(ArgError::from)?;
    let backends = parse_backends(&entry.backends).map_err(ArgError::from)?;
    Ok(DesiredRoute { host, backends, mode, options })
}

impl HostSpec {
    /// Completes a subdomain with the base domain.
    pub(crate) fn with_base_domain(self, base: &str) -> Self {
        match self {
            Self::Subdomain(label) => Self::Host(format!("{label}.{base}")),
            Self::Host(host) => Self::Host(host),
        }
    }

    /// Returns the subdomain or the full host name.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Subdomain(text) | Self::Host(text) => text,
        }
    }
}

impl DesiredRoute {
    /// Returns the params that create the route.
    pub(crate) fn create_params(&self) -> RouteCreate {
        let (subdomain, fqdn) = match &self.host {
            HostSpec::Subdomain(label) => (Some(label.clone()), None),
            HostSpec::Host(host) => (None, Some(host.clone())),
        };
        RouteCreate {
            subdomain,
            fqdn,
            backends: self.backends.clone(),
            mode: self.mode,
            options: self.options.clone(),
            ..RouteCreate::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use webgateway_proto::model::Balance;

    use super::*;

    #[test]
    fn the_output_of_list_and_json_is_accepted() {
        let yaml = "routes:\n- subdomain: Shop\n  backends: ['[400::1]:80']\n- host: a.example.org\n  id: x\n  \
                    owner: user1.pub\n  state: active\n  version: 7\n  created_at: now\n  updated_at: now\n  \
                    mode: passthrough\n  balance: random\n  backends:\n  - '[400:0::2]:443'\n";
        let routes = parse(yaml).unwrap();
        assert_eq!(routes[0].host, HostSpec::Subdomain("shop".into()));
        assert_eq!(routes[1].host, HostSpec::Host("a.example.org".into()));
        assert_eq!((routes[1].mode, routes[1].options.balance), (Mode::Passthrough, Balance::Random));
        assert_eq!(routes[1].backends, ["[400::2]:443"], "normalised");
        let json =
            r#"{"routes":[{"fqdn":"a.example.org","backends":["[400::1]:80"],"health":{"path":"/up"}}]}"#;
        let routes = parse(json).unwrap();
        assert_eq!(routes[0].options.health.as_ref().map(|check| check.interval().as_secs()), Some(10));
        assert!(parse("routes: []").unwrap().is_empty());
    }

    #[test]
    fn errors_name_the_line_or_the_route() {
        let unread = parse("routes:\n- subdomain: a\n  backend: x\n").unwrap_err().to_string();
        assert_eq!(unread, "missing field `backends` at line 3, column 3");
        let backends = "backends: ['[400::1]:80']";
        for (text, words) in [
            ("routes:\n- subdomain: a\n  backend: x\n".to_owned(), &["backend", "line 3"][..]),
            ("route: []".to_owned(), &["route"]),
            (String::new(), &[]),
            (format!("routes:\n- {backends}"), &["route 1", "subdomain"]),
            (
                format!("routes:\n- subdomain: a\n  fqdn: b.example\n  {backends}"),
                &["route 1 (a)", "exactly one of"],
            ),
            (format!("routes:\n- subdomain: a.b\n  {backends}"), &["route 1 (a.b)", "label"]),
            ("routes:\n- subdomain: a\n  backends: [nowhere]".to_owned(), &["route 1 (a)", "nowhere"]),
            ("routes:\n- subdomain: a\n  backends: []".to_owned(), &["route 1 (a)", "backend"]),
            (format!("routes:\n- subdomain: a\n  mode: passthrough\n  {backends}"), &["TLS"]),
            (format!("routes:\n- subdomain: a\n  mode: tunnel\n  {backends}"), &["tunnel"]),
            (format!("routes:\n- subdomain: a\n  {backends}\n  health: {{interval: 0}}"), &["interval"]),
        ] {
            let error = parse(&text).unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{text}: {error}");
        }
    }

    #[test]
    fn a_duplicate_host_is_rejected() {
        let text = "routes:\n- {subdomain: a, backends: ['[400::1]:80']}\n- {host: a.gw.example, backends: ['[400::1]:80']}";
        let mut routes = parse(text).unwrap();
        for route in &mut routes {
            route.host = route.host.clone().with_base_domain("gw.example");
        }
        let error = check_duplicates(&routes).unwrap_err().to_string();
        assert!(error.contains("route 2 (a.gw.example)") && error.contains("route 1"), "{error}");
    }
}
