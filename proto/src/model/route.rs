//! A route: one host and where it goes.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{Backends, HealthCheck, Host, KeyId, RouteId};

/// How the gateway treats a host's TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The gateway terminates TLS and proxies HTTP.
    #[default]
    Terminate,
    /// The bytes go untouched to the backend.
    Passthrough,
}

/// How a backend is chosen among those that answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// One after the other.
    #[default]
    RoundRobin,
    /// Any of them.
    Random,
}

/// Where a host goes, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// How its TLS is treated.
    pub mode: Mode,
    /// How a backend is chosen.
    pub balance: Balance,
    /// The backends to choose from.
    pub backends: Backends,
    /// How they are looked after; boxed, since most routes have none.
    pub health: Option<Box<HealthCheck>>,
}

/// One host and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its id.
    pub id: RouteId,
    /// The key that created it.
    pub owner: KeyId,
    /// Its host, unique over all owners.
    pub host: Host,
    /// Where the host goes.
    pub destination: Destination,
    /// The revision of the store at which it last changed.
    pub version: u64,
    /// When it was created.
    pub created_at: OffsetDateTime,
    /// When it last changed.
    pub updated_at: OffsetDateTime,
}

impl Mode {
    /// The word for it in the API, the store and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Terminate => "terminate",
            Self::Passthrough => "passthrough",
        }
    }
}

impl Balance {
    /// The word for it in the API, the store and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::Random => "random",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
