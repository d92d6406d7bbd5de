//! What all connections of one worker share. Everything here is of one thread, but the snapshot and the counters.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::backend::balance::Turns;
use crate::backend::dial::Ourselves;
use crate::backend::health::Health;
use crate::backend::pool::Pool;
use crate::clock::Coarse;
use crate::config::Limits;
use crate::connections::Connections;
use crate::feed::client::ApiDoor;
use crate::http::body::RequestBody;
use crate::metrics::WorkerMetrics;
use crate::snapshot::Snapshot;

/// What all connections of one worker share.
pub struct Proxy {
    /// What is known.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// The time, as far as requests need it.
    pub clock: Rc<Coarse>,
    /// Where no backend may be.
    pub ourselves: Ourselves,
    /// Idle backend connections.
    pub pool: Rc<Pool<RequestBody>>,
    /// Backends that do not answer.
    pub health: RefCell<Health>,
    /// Whose turn it is.
    pub turns: Turns,
    /// The visitors' connections.
    pub connections: Rc<Connections>,
    /// Where API requests go.
    pub api: ApiDoor,
    /// What is counted.
    pub metrics: WorkerMetrics,
    /// What is bounded.
    pub limits: Limits,
    /// Whether requests are logged.
    pub access_log: bool,
    /// The port visitors are redirected to.
    pub https_port: u16,
}
