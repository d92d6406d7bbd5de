//! Continuous changes of routes; clients must see every acknowledged change.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;
use uuid::Uuid;
use webgateway_tests::client::Connection;
use webgateway_tests::signer::Signer;
use webgateway_tests::wait::eventually;

use crate::interruptions::Interruptions;
use crate::targets::Targets;

/// The pause between two changes.
const PAUSE: Duration = Duration::from_millis(50);
/// The maximum number of routes at once.
const ROUTES: usize = 20;
/// The interval of checks at the node: one of this many routes.
const CHECK_INTERVAL: u64 = 20;
/// The number of calls over one connection.
const CALLS_PER_CONNECTION: u64 = 100;
const PROPAGATION: Duration = Duration::from_secs(30);

/// The running changes.
pub(crate) struct Changes {
    stop: oneshot::Sender<()>,
    running: JoinSet<Result<Changer>>,
}

/// The caller of the API.
struct Changer {
    signer: Signer,
    targets: Targets,
    interruptions: Interruptions,
    /// A connection, and the count of interruptions when it was made.
    api: Option<(u64, Connection)>,
    /// The routes that exist or may exist, by number.
    routes: BTreeMap<u64, Uuid>,
    /// The routes that may not exist, as a response was lost.
    uncertain: BTreeSet<u64>,
    made: u64,
    changes: u64,
    /// The longest time from a response of the API until the node served the change.
    slowest: Duration,
}

/// The outcome of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Acknowledged,
    /// The controlplane was interrupted meanwhile.
    Unknown,
    /// There is no such route.
    Absent,
}

impl Changes {
    /// Starts the changes.
    pub(crate) fn start(signer: Signer, targets: &Targets, interruptions: &Interruptions) -> Self {
        let mut changer = Changer {
            signer,
            targets: targets.clone(),
            interruptions: interruptions.clone(),
            api: None,
            routes: BTreeMap::new(),
            uncertain: BTreeSet::new(),
            made: 0,
            changes: 0,
            slowest: Duration::ZERO,
        };
        let (stop, mut stopped) = oneshot::channel();
        let mut running = JoinSet::new();
        running.spawn_local(async move {
            while matches!(stopped.try_recv(), Err(oneshot::error::TryRecvError::Empty)) {
                changer.change().await?;
                sleep(PAUSE).await;
            }
            Ok(changer)
        });
        Self { stop, running }
    }

    /// Stops the changes, deletes the remaining routes, and returns a summary.
    pub(crate) async fn end(mut self) -> Result<String> {
        // The task has ended by itself if it failed.
        let _ = self.stop.send(());
        let mut changer = self.running.join_next().await.context("it was started")???;
        while let Some((number, id)) = changer.routes.pop_first() {
            changer.delete(number, id).await?;
        }
        let Changer { changes, slowest, .. } = changer;
        Ok(format!("{changes} changes, seen at the node after {} ms at most", slowest.as_millis()))
    }
}

impl Changer {
    async fn change(&mut self) -> Result<()> {
        if self.routes.len() < ROUTES {
            return self.create().await;
        }
        let (number, id) = self.routes.pop_first().context("there are routes")?;
        let backends = ["[400::1]:8080", "[400::3]:8080"];
        self.call(number, "routes.update", json!({"id": id, "backends": backends})).await?;
        self.delete(number, id).await
    }

    async fn create(&mut self) -> Result<()> {
        self.made += 1;
        let (number, id) = (self.made, Uuid::now_v7());
        self.routes.insert(number, id);
        let name = format!("soak-{number}");
        let params = json!({"id": id, "subdomain": name, "backends": ["[400::1]:8080"]});
        match self.call(number, "routes.create", params).await? {
            Outcome::Acknowledged if number.is_multiple_of(CHECK_INTERVAL) => {
                self.wait_for_status(number, 200).await
            }
            _ => Ok(()),
        }
    }

    async fn delete(&mut self, number: u64, id: Uuid) -> Result<()> {
        match self.call(number, "routes.delete", json!({"id": id})).await? {
            Outcome::Acknowledged if number.is_multiple_of(CHECK_INTERVAL) => {
                self.wait_for_status(number, 503).await
            }
            Outcome::Acknowledged | Outcome::Absent => Ok(()),
            Outcome::Unknown => {
                // The deletion is repeated later.
                self.routes.insert(number, id);
                Ok(())
            }
        }
    }

    /// Waits until clients of the node get `status` for the route's host.
    async fn wait_for_status(&mut self, number: u64, status: u16) -> Result<()> {
        let (client, host) = (&self.targets.client, format!("soak-{number}.gw.example"));
        let (what, begun) = (format!("{host} is answered {status}"), Instant::now());
        // The API closes a connection that is idle for long.
        self.api = None;
        eventually(&what, PROPAGATION, async || client.get(&host, "/").await?.expect(status)).await?;
        self.slowest = self.slowest.max(begun.elapsed());
        Ok(())
    }

    async fn call(&mut self, number: u64, method: &str, params: Value) -> Result<Outcome> {
        while self.interruptions.is_away() {
            sleep(PAUSE).await;
        }
        let before = self.interruptions.count();
        let response = match self.call_once(method, params).await {
            Ok(response) => response,
            Err(_) if self.interruptions.count() != before => {
                self.uncertain.insert(number);
                return Ok(Outcome::Unknown);
            }
            Err(error) => return Err(error).with_context(|| format!("{method} of route {number}")),
        };
        if response["error"].is_null() {
            self.changes += 1;
            return Ok(Outcome::Acknowledged);
        }
        if self.uncertain.contains(&number) && response["error"]["data"]["kind"] == "route_not_found" {
            return Ok(Outcome::Absent);
        }
        bail!("{method} of route {number}: {response}")
    }

    async fn call_once(&mut self, method: &str, params: Value) -> Result<Value> {
        let (now, rpc) = (self.interruptions.count(), self.targets.rpc);
        let is_old = self.changes.is_multiple_of(CALLS_PER_CONNECTION);
        if is_old || self.api.as_ref().is_none_or(|(made, _)| *made != now) {
            self.api = Some((now, Connection::plain(rpc).await?));
        }
        let (_, api) = self.api.as_mut().context("it is there")?;
        let url = format!("http://{rpc}/rpc");
        self.signer.call(api, &url, method, params).await?.expect(200)?.json()
    }
}
