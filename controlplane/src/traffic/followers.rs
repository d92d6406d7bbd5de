//! Followed access logs: who follows which route, and the newest lines of each. Nothing is kept longer than somebody
//! follows.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use webgateway_proto::feed::{AccessLine, AccessLines, MAX_FOLLOWED_ROUTES, ToNode};
use webgateway_proto::model::{KeyId, RouteId};

/// The maximum number of routes that one caller follows at once.
const MAX_ROUTES_PER_CALLER: usize = 16;
/// The time after its last call after which a follower is considered gone, in microseconds.
const FOLLOW_TIMEOUT: u64 = 30_000_000;
/// The maximum number of lines of one route that wait for its followers.
const MAX_LINES: usize = 1000;

/// The followed access logs. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Followers(Arc<FollowersInner>);

#[derive(Debug)]
struct FollowersInner {
    routes: Mutex<HashMap<RouteId, FollowedRoute>>,
    /// The ids of the followed routes, for the nodes.
    followed: watch::Sender<Vec<RouteId>>,
    /// Notifies of new lines of any route.
    arrived: watch::Sender<()>,
}

#[derive(Debug)]
struct FollowedRoute {
    /// The callers, and when each is considered gone, in Unix microseconds.
    callers: HashMap<KeyId, u64>,
    /// The number of the very first entry: the time in microseconds, so that a cursor of an earlier log is recognised.
    start: u64,
    /// The number of the first entry that is still there.
    first: u64,
    entries: VecDeque<LogEntry>,
}

/// A line of an access log, or the number of lines that were left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LogEntry {
    /// A line from a node.
    Line {
        /// The node's name.
        node: Arc<str>,
        /// The line.
        line: AccessLine,
    },
    /// The number of lines that a node left out.
    LeftOut(u64),
}

/// The entries after a cursor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LogEntries {
    /// The entries, in the order of their arrival.
    pub entries: Vec<LogEntry>,
    /// The number of entries that are no longer there.
    pub lost: u64,
    /// The cursor after the entries.
    pub cursor: u64,
}

/// A node's view of the followed routes.
#[derive(Debug)]
pub(crate) struct FollowSubscription {
    followed: watch::Receiver<Vec<RouteId>>,
    sent: Vec<RouteId>,
}

impl Default for Followers {
    fn default() -> Self {
        let (followed, arrived) = (watch::Sender::default(), watch::Sender::default());
        Self(Arc::new(FollowersInner { routes: Mutex::default(), followed, arrived }))
    }
}

impl Followers {
    fn routes(&self) -> MutexGuard<'_, HashMap<RouteId, FollowedRoute>> {
        self.0.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows a route, or keeps following it. `now` is the time in Unix microseconds. Returns false if the caller, or
    /// all together, follow too many routes already.
    #[must_use]
    pub(crate) fn follow(&self, route: RouteId, caller: &KeyId, now: u64) -> bool {
        let mut routes = self.routes();
        let is_known = routes.get(&route).is_some_and(|followed| followed.callers.contains_key(caller));
        if !is_known {
            expire(&mut routes, now);
            let of_caller = routes.values().filter(|followed| followed.callers.contains_key(caller)).count();
            let is_full = routes.len() >= MAX_FOLLOWED_ROUTES && !routes.contains_key(&route);
            if is_full || of_caller >= MAX_ROUTES_PER_CALLER {
                return false;
            }
        }
        let followed = routes.entry(route).or_insert_with(|| FollowedRoute {
            callers: HashMap::new(),
            start: now,
            first: now,
            entries: VecDeque::new(),
        });
        followed.callers.insert(caller.clone(), now + FOLLOW_TIMEOUT);
        self.publish(&routes);
        true
    }

    /// Ends what nobody follows any more at `now`, in Unix microseconds.
    pub(crate) fn expire(&self, now: u64) {
        let mut routes = self.routes();
        expire(&mut routes, now);
        self.publish(&routes);
    }

    fn publish(&self, routes: &HashMap<RouteId, FollowedRoute>) {
        let mut ids: Vec<RouteId> = routes.keys().copied().collect();
        ids.sort();
        self.0.followed.send_if_modified(|followed| {
            let is_changed = *followed != ids;
            *followed = ids;
            is_changed
        });
    }

    /// Adds lines from a node. Lines of routes that nobody follows are dropped.
    pub(crate) fn push(&self, node: &str, AccessLines { route, lines, left_out }: AccessLines) {
        let mut routes = self.routes();
        let Some(followed) = routes.get_mut(&route) else { return };
        let node: Arc<str> = node.into();
        let lines = lines.into_iter().map(|line| LogEntry::Line { node: Arc::clone(&node), line });
        followed.entries.extend(lines.chain((left_out > 0).then_some(LogEntry::LeftOut(left_out))));
        let surplus = followed.entries.len().saturating_sub(MAX_LINES);
        followed.entries.drain(..surplus);
        followed.first += surplus as u64;
        drop(routes);
        self.0.arrived.send_replace(());
    }

    /// Returns the entries after `after`; without `after` none, and the current cursor.
    #[must_use]
    pub(crate) fn read(&self, route: RouteId, after: Option<u64>) -> LogEntries {
        let routes = self.routes();
        let Some(FollowedRoute { start, first, entries, .. }) = routes.get(&route) else {
            return LogEntries { cursor: after.unwrap_or_default(), ..LogEntries::default() };
        };
        let cursor = first + entries.len() as u64;
        let Some(after) = after else { return LogEntries { cursor, ..LogEntries::default() } };
        // Of an earlier log, which ended with the process or because nobody followed it, nothing is left to return.
        let after = if (*start..=cursor).contains(&after) { after } else { *first };
        let skipped = usize::try_from(after.saturating_sub(*first)).unwrap_or(usize::MAX);
        let lost = first.saturating_sub(after);
        LogEntries { entries: entries.iter().skip(skipped).cloned().collect(), lost, cursor }
    }

    /// Waits until there are entries after `after`.
    pub(crate) async fn wait(&self, route: RouteId, after: u64) {
        let mut arrived = self.0.arrived.subscribe();
        loop {
            arrived.mark_unchanged();
            let LogEntries { entries, lost, .. } = self.read(route, Some(after));
            if !entries.is_empty() || lost > 0 || arrived.changed().await.is_err() {
                return;
            }
        }
    }

    /// Returns the view of a node, to which nothing was sent yet.
    #[must_use]
    pub(crate) fn subscribe(&self) -> FollowSubscription {
        FollowSubscription { followed: self.0.followed.subscribe(), sent: Vec::new() }
    }
}

fn expire(routes: &mut HashMap<RouteId, FollowedRoute>, now: u64) {
    routes.retain(|_, followed| {
        followed.callers.retain(|_, until| *until > now);
        !followed.callers.is_empty()
    });
}

impl FollowSubscription {
    /// Returns the message to send to the node, if the followed routes differ from those that it knows.
    #[must_use]
    pub(crate) fn pending(&mut self) -> Option<ToNode> {
        let followed = self.followed.borrow_and_update();
        (*followed != self.sent).then(|| ToNode::Follow(followed.clone()))
    }

    /// Records that the message was sent.
    pub(crate) fn mark_sent(&mut self, message: ToNode) {
        if let ToNode::Follow(routes) = message {
            self.sent = routes;
        }
    }

    /// Waits until the followed routes have changed.
    pub(crate) async fn changed(&mut self) {
        if self.followed.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

#[cfg(test)]
mod tests;
