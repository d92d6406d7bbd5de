//! A file of routes: what `gwctl routes apply` shall bring about.

use serde::Deserialize;
use serde::de::IgnoredAny;
use thiserror::Error;
use webgateway_proto::api::RouteCreate;
use webgateway_proto::model::{Host, Mode, RouteOptions};

use crate::args::{InvalidArg, backends, label};

/// Why a file says nothing that could be applied.
#[derive(Debug, Error)]
pub(crate) enum InvalidManifest {
    /// Not YAML, or of another shape; with line and field.
    #[error("{0}")]
    Yaml(String),
    /// A route that cannot be.
    #[error("route {number} ({name}): {reason}")]
    Route { number: usize, name: String, reason: Reason },
}

/// What is wrong with one route.
#[derive(Debug, Error)]
pub(crate) enum Reason {
    /// No host, or several.
    #[error("a route has one of `subdomain`, `fqdn` and `host`")]
    OneHost,
    /// A value that the flags would refuse too.
    #[error("{0}")]
    Value(#[from] InvalidArg),
    /// A host that stands twice.
    #[error("the host stands in the file twice: route {0} has it too")]
    Twice(usize),
}

/// A route as the file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Desired {
    pub(crate) place: Place,
    pub(crate) backends: Vec<String>,
    pub(crate) mode: Mode,
    pub(crate) options: RouteOptions,
}

/// Where a route is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// A label below the gateway's base domain.
    Below(String),
    /// A whole host.
    Host(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    routes: Vec<Entry>,
    #[serde(default, rename = "version")]
    _version: IgnoredAny,
}

/// The fields of `routes.create`, and those that `routes.list` shows beyond them, which nobody can set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
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

/// Reads a file of routes; `base` is asked for if one has a `subdomain`.
pub(crate) fn parse(text: &str) -> Result<Vec<Desired>, InvalidManifest> {
    let file: File =
        serde_saphyr::from_str(text).map_err(|error| InvalidManifest::Yaml(error.to_string()))?;
    let read = |(index, entry): (usize, Entry)| {
        let name = [&entry.subdomain, &entry.fqdn, &entry.host].into_iter().flatten().next().cloned();
        let named = |reason| InvalidManifest::Route {
            number: index + 1,
            name: name.unwrap_or_else(|| "without a host".to_owned()),
            reason,
        };
        desired(entry).map_err(named)
    };
    file.routes.into_iter().enumerate().map(read).collect()
}

/// Refuses hosts that stand there twice, once every place is known by its whole host.
pub(crate) fn refuse_twins(routes: &[Desired]) -> Result<(), InvalidManifest> {
    for (index, route) in routes.iter().enumerate() {
        if let Some(first) = routes[..index].iter().position(|other| other.place == route.place) {
            let reason = Reason::Twice(first + 1);
            return Err(InvalidManifest::Route {
                number: index + 1,
                name: route.place.text().to_owned(),
                reason,
            });
        }
    }
    Ok(())
}

fn desired(entry: Entry) -> Result<Desired, Reason> {
    let Entry { mode, options, .. } = entry;
    let place = match (entry.subdomain, entry.fqdn, entry.host) {
        (Some(name), None, None) => Place::Below(label(&name)?),
        (None, Some(host), None) | (None, None, Some(host)) => {
            Place::Host(Host::parse(&host).map_err(InvalidArg::Fqdn)?.into())
        }
        _ => return Err(Reason::OneHost),
    };
    if mode == Mode::Passthrough && matches!(place, Place::Below(_)) {
        return Err(InvalidArg::PassthroughSubdomain.into());
    }
    options.check_fits(mode).map_err(InvalidArg::from)?;
    let backends = backends(&entry.backends).map_err(InvalidArg::from)?;
    Ok(Desired { place, backends, mode, options })
}

impl Place {
    /// The whole host.
    pub(crate) fn under(self, base: &str) -> Self {
        match self {
            Self::Below(label) => Self::Host(format!("{label}.{base}")),
            Self::Host(host) => Self::Host(host),
        }
    }

    /// The label or host.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Below(text) | Self::Host(text) => text,
        }
    }
}

impl Desired {
    /// What creates it.
    pub(crate) fn create(&self) -> RouteCreate {
        let (subdomain, fqdn) = match &self.place {
            Place::Below(label) => (Some(label.clone()), None),
            Place::Host(host) => (None, Some(host.clone())),
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
    fn what_list_shows_is_a_file_too_and_json_is_yaml() {
        let yaml = "routes:\n- subdomain: Shop\n  backends: ['[400::1]:80']\n- host: a.example.org\n  id: x\n  \
                    owner: user1.pub\n  state: active\n  version: 7\n  created_at: now\n  updated_at: now\n  \
                    mode: passthrough\n  balance: random\n  backends:\n  - '[400:0::2]:443'\n";
        let routes = parse(yaml).unwrap();
        assert_eq!(routes[0].place, Place::Below("shop".into()));
        assert_eq!(routes[1].place, Place::Host("a.example.org".into()));
        assert_eq!((routes[1].mode, routes[1].options.balance), (Mode::Passthrough, Balance::Random));
        assert_eq!(routes[1].backends, ["[400::2]:443"], "one spelling");
        let json =
            r#"{"routes":[{"fqdn":"a.example.org","backends":["[400::1]:80"],"health":{"path":"/up"}}]}"#;
        let routes = parse(json).unwrap();
        assert_eq!(routes[0].options.health.as_ref().map(|check| check.interval().as_secs()), Some(10));
        assert!(parse("routes: []").unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let backends = "backends: ['[400::1]:80']";
        for (text, words) in [
            ("routes:\n- subdomain: a\n  backend: x\n".to_owned(), &["backend", "line 3"][..]),
            ("route: []".to_owned(), &["route"]),
            (String::new(), &[]),
            (format!("routes:\n- {backends}"), &["route 1", "subdomain"]),
            (format!("routes:\n- subdomain: a\n  fqdn: b.example\n  {backends}"), &["route 1 (a)", "one of"]),
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
    fn a_host_stands_there_once() {
        let text = "routes:\n- {subdomain: a, backends: ['[400::1]:80']}\n- {host: a.gw.example, backends: ['[400::1]:80']}";
        let mut routes = parse(text).unwrap();
        for route in &mut routes {
            route.place = route.place.clone().under("gw.example");
        }
        let error = refuse_twins(&routes).unwrap_err().to_string();
        assert!(error.contains("route 2 (a.gw.example)") && error.contains("route 1"), "{error}");
    }
}
