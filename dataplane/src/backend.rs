//! Backends: load balancing, connections, connection pools and health checks.

pub(crate) mod balance;
pub(crate) mod check_schedule;
pub(crate) mod client_hash;
pub(crate) mod connector;
pub(crate) mod dial;
pub(crate) mod health;
pub(crate) mod health_report;
pub(crate) mod http2;
pub(crate) mod http2_pool;
pub(crate) mod lease;
pub(crate) mod loop_detection;
pub(crate) mod monitor;
pub(crate) mod open_requests;
pub(crate) mod pool;
pub(crate) mod probe;
pub(crate) mod stream;
pub(crate) mod tls;
pub(crate) mod transport;
pub(crate) mod unhealthy;
pub(crate) mod view;
