//! The domain model. Its types are constructed by parsing, so that every value is valid.

mod backend;
mod cert;
mod dns;
mod health;
mod host;
mod id;
mod latency;
mod listeners;
mod mode;
mod node;
pub mod options;
mod reason;
mod route;
mod token;
mod traffic;
mod user;
mod words;

pub use backend::{Backend, Backends, InvalidBackendError, InvalidBackendsError, MAX_BACKENDS, Prefixes};
pub use cert::{CertName, Certificate, CertificateId, InvalidCertificateError};
pub use dns::DnsRecord;
pub use health::{HealthCheck, InvalidHealthCheckError, Probe};
pub use host::{Host, InvalidHostError, MAX_HOST};
pub use id::{InvalidKeyIdError, InvalidRouteIdError, KeyId, RouteId};
pub use latency::{LATENCY_BUCKETS, Latencies, latency_bucket};
pub use listeners::{MAX_LISTENERS, ProcessListeners, StackAddress};
pub use mode::Mode;
pub use node::{InvalidNodeNameError, InvalidRemoteAddressError, NodeName, RemoteAddress};
pub use options::{Balance, Patch, RouteOptions, RouteOptionsPatch, UnsuitableOptionError};
pub use reason::{InvalidReasonError, MAX_REASON, Reason};
pub use route::{Destination, Route};
pub use token::{InvalidTokenError, JoinToken};
pub use traffic::{MAX_ERROR_KINDS, OTHER_ERROR, Traffic};
pub use user::{Limit, OwnQuota, Quota, Suspension};
pub use words::{Describe, UnknownWordError, Words};
