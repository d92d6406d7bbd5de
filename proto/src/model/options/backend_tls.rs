//! TLS between the gateway and the backends of a route.

mod certificates;

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use rustls_pki_types::{DnsName, IpAddr, ServerName};
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

pub use self::certificates::{CaCertificates, InvalidCaError, MAX_CA_BYTES, MAX_CA_CERTIFICATES};
use crate::model::words::Describe;
use crate::model::{Host, MAX_HOST};

/// The TLS settings of connections to the backends of a route. By default, the certificate must be for the route's host
/// and be issued by a public CA.
#[derive(Clone, PartialEq, Eq, Hash, Default, Serialize, JsonSchema)]
#[serde(into = "BackendTlsSpec")]
#[schemars(with = "BackendTlsSpec")]
pub struct BackendTls {
    server_name: Option<ServerName<'static>>,
    trust: Trust,
}

/// The certificates that are accepted from a backend.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Trust {
    /// Those that a public CA has issued.
    #[default]
    Public,
    /// Those that one of these CAs has issued, and these certificates themselves.
    Ca(CaCertificates),
    /// All: the certificate is not verified.
    Insecure,
}

/// Invalid TLS settings.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidBackendTlsError {
    /// The server name is neither a host name nor an IP address.
    #[error("`server_name` must be a host name or an IP address without a port, not `{0}`")]
    ServerName(String),
    /// The CA certificates are invalid.
    #[error("`ca` {0}")]
    Ca(#[from] InvalidCaError),
    /// There are CA certificates, which `insecure` would ignore.
    #[error("`ca` and `insecure` exclude each other: with `insecure`, no certificate is verified")]
    CaAndInsecure,
}

/// The JSON form of [`BackendTls`].
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BackendTlsSpec {
    /// The name that the backend's certificate must have, also sent as SNI: a host name or an IP address; if absent,
    /// the route's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    server_name: Option<String>,
    /// One to 16 certificates in PEM, at most 64 KiB. The backend's certificate must be issued by one of them, or be
    /// one of them; if absent, a public CA must have issued it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca: Option<String>,
    /// If true, the backend's certificate is not verified: anybody on the path to the backend can read and change the
    /// traffic.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    insecure: bool,
}

impl BackendTls {
    /// Makes TLS settings. Without `server_name`, it is the route's host; without `ca`, the public CAs are trusted.
    pub fn new(
        server_name: Option<&str>,
        ca: Option<&str>,
        insecure: bool,
    ) -> Result<Self, InvalidBackendTlsError> {
        let server_name = server_name.map(parse_server_name).transpose()?;
        let trust = match ca {
            Some(_) if insecure => return Err(InvalidBackendTlsError::CaAndInsecure),
            Some(pem) => Trust::Ca(CaCertificates::parse(pem)?),
            None if insecure => Trust::Insecure,
            None => Trust::Public,
        };
        Ok(Self { server_name, trust })
    }

    pub(super) fn sample() -> Self {
        let server_name = DnsName::try_from("backend.example.net").ok().map(ServerName::DnsName);
        Self { server_name, trust: Trust::Public }
    }

    /// Returns whether all settings have their defaults.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the name that the certificates of the backends must have; `None` for the route's host.
    #[must_use]
    pub fn server_name(&self) -> Option<&ServerName<'static>> {
        self.server_name.as_ref()
    }

    /// Returns the certificates that are accepted.
    #[must_use]
    pub fn trust(&self) -> &Trust {
        &self.trust
    }
}

fn parse_server_name(text: &str) -> Result<ServerName<'static>, InvalidBackendTlsError> {
    let name = text.strip_suffix('.').unwrap_or(text);
    // A host name in Unicode has an ASCII form. A name with one label, which is no host of a route, is allowed.
    let ascii = Host::parse(name).map_or_else(|_| name.to_ascii_lowercase(), |host| host.as_str().to_owned());
    let name = Some(ascii).filter(|name| name.len() <= MAX_HOST).map(ServerName::try_from);
    name.and_then(Result::ok).ok_or_else(|| {
        let shown = text.chars().filter(|c| !c.is_control()).take(MAX_HOST).collect();
        InvalidBackendTlsError::ServerName(shown)
    })
}

fn text_of(name: &ServerName<'_>) -> String {
    match name {
        ServerName::DnsName(name) => name.as_ref().to_owned(),
        ServerName::IpAddress(IpAddr::V4(address)) => Ipv4Addr::from(*address.as_ref()).to_string(),
        ServerName::IpAddress(IpAddr::V6(address)) => Ipv6Addr::from(*address.as_ref()).to_string(),
        other => format!("{other:?}"),
    }
}

impl From<BackendTls> for BackendTlsSpec {
    fn from(BackendTls { server_name, trust }: BackendTls) -> Self {
        Self {
            server_name: server_name.as_ref().map(text_of),
            ca: match &trust {
                Trust::Ca(certificates) => Some(certificates.to_pem()),
                Trust::Public | Trust::Insecure => None,
            },
            insecure: trust == Trust::Insecure,
        }
    }
}

impl<'de> Deserialize<'de> for BackendTls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A struct could also be deserialized from a JSON array; a map cannot.
        let fields = Map::<String, Value>::deserialize(deserializer)?;
        let BackendTlsSpec { server_name, ca, insecure } =
            BackendTlsSpec::deserialize(Value::Object(fields)).map_err(D::Error::custom)?;
        Self::new(server_name.as_deref(), ca.as_deref(), insecure).map_err(D::Error::custom)
    }
}

impl Describe for BackendTls {
    fn describe(&self) -> String {
        let trust = match &self.trust {
            Trust::Public => "public CAs".to_owned(),
            Trust::Ca(certificates) => format!("own CAs ({})", certificates.as_slice().len()),
            Trust::Insecure => "certificate not verified".to_owned(),
        };
        match &self.server_name {
            Some(name) => format!("{trust}, server name {}", text_of(name)),
            None => trust,
        }
    }
}

impl fmt::Debug for BackendTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BackendTls").field(&self.describe()).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<BackendTls, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn settings_survive_the_round_trip_through_json() {
        let pem = certificates::tests::PEM;
        for (value, described) in [
            (json!({}), "public CAs"),
            (json!({ "server_name": "a.example" }), "public CAs, server name a.example"),
            (json!({ "server_name": "backend" }), "public CAs, server name backend"),
            (
                json!({ "server_name": "400::1", "insecure": true }),
                "certificate not verified, server name 400::1",
            ),
            (json!({ "ca": pem }), "own CAs (1)"),
        ] {
            let tls = read(value.clone()).unwrap();
            assert_eq!(tls.describe(), described);
            assert_eq!(serde_json::to_value(&tls).unwrap(), value);
            assert_eq!(tls.is_default(), value == json!({}));
        }
        let spelled = read(json!({ "server_name": "B\u{fc}cher.Example.", "insecure": false })).unwrap();
        assert_eq!(spelled.describe(), "public CAs, server name xn--bcher-kva.example");
    }

    #[test]
    fn invalid_settings_are_rejected_with_the_reason() {
        let long = "x".repeat(300);
        for (value, reason) in [
            (json!({ "server_name": "" }), "`server_name`"),
            (json!({ "server_name": "a b" }), "`a b`"),
            (json!({ "server_name": "a.example:443" }), "without a port"),
            (json!({ "server_name": "*.example" }), "`*.example`"),
            (json!({ "server_name": long }), "`server_name`"),
            (json!({ "ca": "" }), "`ca` has no certificate"),
            (json!({ "ca": certificates::tests::PEM, "insecure": true }), "exclude each other"),
            (json!({ "servername": "a.example" }), "`servername`"),
            (json!({ "insecure": "yes" }), "boolean"),
            (json!(["a.example"]), "sequence"),
        ] {
            let error = read(value.clone()).unwrap_err();
            assert!(error.contains(reason), "{value}: {error}");
        }
    }
}
