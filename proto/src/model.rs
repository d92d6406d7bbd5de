//! The model: what exists is valid, because every type here can only be made by parsing.

mod backend;
mod cert;
mod dns;
mod health;
mod host;
mod id;
mod listeners;
mod mode;
mod node;
pub mod options;
mod reason;
mod route;
mod token;
mod user;
mod words;

pub use backend::{Backend, Backends, InvalidBackend, InvalidBackends, MAX_BACKENDS, Prefixes};
pub use cert::{CertName, Certificate, CertificateId, InvalidCertificate};
pub use dns::DnsRecord;
pub use health::{HealthCheck, InvalidHealthCheck, Probe};
pub use host::{Host, InvalidHost, MAX_HOST};
pub use id::{InvalidKeyId, InvalidRouteId, KeyId, RouteId};
pub use listeners::{MAX_LISTENERS, ProcessListeners, SeenAddress};
pub use mode::Mode;
pub use node::{InvalidNodeName, InvalidRemoteAddress, NodeName, RemoteAddress};
pub use options::{Balance, Patch, RouteOptions, RouteOptionsPatch, UnsuitableOptionError};
pub use reason::{InvalidReason, MAX_REASON, Reason};
pub use route::{Destination, Route};
pub use token::{InvalidToken, JoinToken};
pub use user::{Limit, OwnQuota, Quota, Suspension};
pub use words::{Describe, UnknownWordError, Words};
