//! The counts of one worker, and its lines for those who follow an access log.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::mem;
use std::rc::Rc;

use tokio::sync::mpsc::error::TrySendError;
use webgateway_proto::feed::{AccessLine, AccessLines, LINES_PER_SECOND};
use webgateway_proto::model::RouteId;

use super::cell::RouteCell;
use super::channels::{CollectedRoute, MAX_ROUTES, StatsChannels};
use super::line_budget::LineBudget;
use crate::clock::unix_now;
use crate::connections::Connections;

/// The maximum number of lines of one route that wait for the reporter.
const MAX_LINES: usize = 2 * LINES_PER_SECOND as usize;

/// The counts of one worker, on its thread.
pub(crate) struct WorkerStats {
    channels: RefCell<StatsChannels>,
    cells: RefCell<HashMap<RouteId, Rc<RouteCell>>>,
    /// The cell of all routes beyond [`MAX_ROUTES`]. It is never collected.
    spare: Rc<RouteCell>,
    lines: RefCell<HashMap<RouteId, LineBuffer>>,
}

/// The lines of one route that were not sent to the reporter yet.
#[derive(Debug, Default)]
struct LineBuffer {
    budget: LineBudget,
    lines: Vec<AccessLine>,
    left_out: u64,
}

impl WorkerStats {
    /// Creates the counts of a worker, all zero.
    #[must_use]
    pub(crate) fn new(channels: StatsChannels) -> Self {
        Self {
            channels: RefCell::new(channels),
            cells: RefCell::default(),
            spare: Rc::new(RouteCell::new(false)),
            lines: RefCell::default(),
        }
    }

    /// Returns the cell of a route.
    pub(super) fn cell(&self, route: RouteId) -> Rc<RouteCell> {
        let mut cells = self.cells.borrow_mut();
        if let Some(cell) = cells.get(&route) {
            return Rc::clone(cell);
        }
        let channels = self.channels.borrow();
        if cells.len() >= MAX_ROUTES {
            channels.unattributed.inc();
            return Rc::clone(&self.spare);
        }
        let cell = Rc::new(RouteCell::new(channels.followed.borrow().contains(&route)));
        cells.insert(route, Rc::clone(&cell));
        cell
    }

    /// Counts a connection of a passthrough route that is refused; `error` is a proxy error type (RFC 9209 §2.3).
    pub(crate) fn count_refused_connection(&self, route: RouteId, error: &'static str) {
        let cell = self.cell(route);
        cell.count_connection();
        cell.count_error(error);
    }

    /// Sends the counts since the last collection to the reporter, with the numbers of open `connections`. If the
    /// reporter is behind, the counts stay for the next collection.
    pub(crate) fn collect(&self, connections: &Connections) {
        for route in connections.routes() {
            if self.cells.borrow().len() < MAX_ROUTES {
                drop(self.cell(route));
            }
        }
        let channels = self.channels.borrow();
        let permit = match channels.collections.try_reserve() {
            Ok(permit) => Some(permit),
            // Without a controlplane nobody wants the counts.
            Err(TrySendError::Closed(())) => None,
            Err(TrySendError::Full(())) => return,
        };
        let mut collected = Vec::new();
        self.cells.borrow_mut().retain(|route, cell| {
            let open = connections.count(*route);
            let before = cell.open.replace(open);
            if open == before && !cell.is_changed() {
                return open > 0 || Rc::strong_count(cell) > 1;
            }
            let opened = open.cast_signed() - before.cast_signed();
            collected.push(CollectedRoute { route: *route, opened, traffic: cell.take() });
            true
        });
        if let Some(permit) = permit.filter(|_| !collected.is_empty()) {
            permit.send(collected);
        }
    }

    /// Takes over the set of followed routes if it has changed, and sends the waiting lines to the reporter.
    pub(crate) fn tick(&self) {
        self.update_followed();
        let channels = self.channels.borrow();
        for (route, buffer) in self.lines.borrow_mut().iter_mut() {
            if buffer.lines.is_empty() && buffer.left_out == 0 {
                continue;
            }
            let Ok(permit) = channels.lines.try_reserve() else { return };
            let (lines, left_out) = (mem::take(&mut buffer.lines), mem::take(&mut buffer.left_out));
            permit.send(AccessLines { route: *route, lines, left_out });
        }
    }

    fn update_followed(&self) {
        let mut channels = self.channels.borrow_mut();
        if !channels.followed.has_changed().unwrap_or_default() {
            return;
        }
        let followed = channels.followed.borrow_and_update();
        for (route, cell) in self.cells.borrow().iter() {
            cell.is_followed.set(followed.contains(route));
        }
        self.lines.borrow_mut().retain(|route, _| followed.contains(route));
    }

    /// Adds a line of a followed route, if this second has not too many.
    pub(super) fn push_line(&self, route: RouteId, line: impl FnOnce() -> AccessLine) {
        let mut buffers = self.lines.borrow_mut();
        let buffer = buffers.entry(route).or_default();
        if buffer.lines.len() < MAX_LINES && buffer.budget.spend(unix_now()) {
            buffer.lines.push(line());
        } else {
            buffer.left_out += 1;
        }
    }
}

impl fmt::Debug for WorkerStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerStats").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
