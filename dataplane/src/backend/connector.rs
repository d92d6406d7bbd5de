//! One worker's way to the backends, for requests and connections alike: chosen, dialled, and judged by how that went.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Cache};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use webgateway_proto::feed::FeedRoute;
use webgateway_proto::model::Backend;

use super::balance::{Turns, candidates};
use super::dial::{DialError, Ourselves, dial};
use super::down::Down;

/// So many requests in a row without an answer take a backend out.
const UNANSWERED: u32 = 5;
/// Beyond that many backends the counts start over, so that those long gone do not pile up.
const MAX_COUNTED: usize = 65_536;

/// What the traffic has seen of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It cannot be reached.
    Failed(Backend, DialError),
    /// It can, but [`UNANSWERED`] requests in a row had no answer.
    Unanswered(Backend),
    /// One that was out was reached.
    Reached(Backend),
}

/// One worker's way to the backends.
#[derive(Debug)]
pub struct Reach {
    down: RefCell<Cache<Arc<ArcSwap<Down>>, Arc<Down>>>,
    unanswered: RefCell<HashMap<Backend, u32>>,
    turns: Turns,
    seen: mpsc::Sender<Seen>,
    ourselves: Ourselves,
    limit: Duration,
}

impl Reach {
    /// Passes over what is in `down`, tells `seen` what it sees, and dials for `limit` at most.
    #[must_use]
    pub fn new(
        down: Arc<ArcSwap<Down>>,
        seen: mpsc::Sender<Seen>,
        ourselves: Ourselves,
        limit: Duration,
    ) -> Self {
        let (down, turns) = (RefCell::new(Cache::new(down)), Turns::default());
        Self { down, unanswered: RefCell::default(), turns, seen, ourselves, limit }
    }

    /// The backends of a route to try, at most two, in order. When all are out, all count as well.
    pub fn candidates(&self, route: &FeedRoute) -> impl Iterator<Item = Backend> + use<> {
        let destination = &route.destination;
        let backends = destination.backends.as_slice();
        let turn = self.turns.next(route.id, destination.options.balance, backends.len());
        let mut down = self.down.borrow_mut();
        let (down, check) = (down.load(), destination.options.health.as_ref());
        candidates(backends, turn, |backend| !down.is_out(backend, check)).into_iter().flatten()
    }

    /// A new connection.
    pub async fn dial(&self, backend: Backend) -> Result<TcpStream, DialError> {
        let dialled = dial(backend.address(), self.limit, &self.ourselves).await;
        match &dialled {
            Ok(_) if self.down.borrow_mut().load().is_out(backend, None) => self.tell(Seen::Reached(backend)),
            // Being out of sockets is no fault of the backend's.
            Ok(_) | Err(DialError::Exhausted) => {}
            Err(error) => self.tell(Seen::Failed(backend, *error)),
        }
        dialled
    }

    /// A request was answered.
    pub fn answered(&self, backend: Backend) {
        let mut unanswered = self.unanswered.borrow_mut();
        if !unanswered.is_empty() {
            unanswered.remove(&backend);
        }
    }

    /// A request was sent and not answered, or with something that is no answer.
    pub fn unanswered(&self, backend: Backend) {
        let mut unanswered = self.unanswered.borrow_mut();
        if unanswered.len() >= MAX_COUNTED {
            unanswered.clear();
        }
        let times = unanswered.entry(backend).or_default();
        *times += 1;
        if *times >= UNANSWERED {
            unanswered.remove(&backend);
            self.tell(Seen::Unanswered(backend));
        }
    }

    /// What there is no room for will be seen again.
    fn tell(&self, seen: Seen) {
        let _ = self.seen.try_send(seen);
    }
}

#[cfg(test)]
mod tests {
    use webgateway_proto::feed::FeedRoute;
    use webgateway_proto::model::{Backends, Host, Prefixes, RouteId};

    use super::super::down::Subject;
    use super::*;

    fn reach(down: &Arc<ArcSwap<Down>>) -> (Reach, mpsc::Receiver<Seen>) {
        let (seen, told) = mpsc::channel(8);
        let ourselves = Ourselves { addresses: vec![], ports: [443, 80] };
        (Reach::new(Arc::clone(down), seen, ourselves, Duration::from_secs(1)), told)
    }

    #[test]
    fn what_is_out_is_passed_over_until_all_are() {
        let backends = ["[400::1]:80", "[400::2]:80"];
        let route = FeedRoute {
            id: RouteId::from_bytes([1; 16]),
            host: Host::parse("a.gw.example").unwrap(),
            destination: Backends::parse(&backends, &Prefixes::default()).unwrap().into(),
        };
        let [one, two] = backends.map(|text| text.parse::<Backend>().unwrap());
        let down = Arc::new(ArcSwap::from_pointee(Down::default()));
        let (reach, _told) = reach(&down);
        let firsts = || -> Vec<Backend> { (0..2).filter_map(|_| reach.candidates(&route).next()).collect() };
        let mut both = firsts();
        both.sort();
        assert_eq!(both, [one, two]);
        let mut out = Down::default();
        out.insert(&Subject { backend: one, check: None }, "x");
        down.store(Arc::new(out.clone()));
        assert_eq!(firsts(), [two, two]);
        out.insert(&Subject { backend: two, check: None }, "x");
        down.store(Arc::new(out));
        let mut both = firsts();
        both.sort();
        assert_eq!(both, [one, two], "better to ask than to refuse");
    }

    #[test]
    fn answers_missing_in_a_row_are_told_of_and_single_ones_are_not() {
        let (reach, mut told) = reach(&Arc::default());
        let backend: Backend = "[400::1]:80".parse().unwrap();
        for _ in 0..10 {
            (1..UNANSWERED).for_each(|_| reach.unanswered(backend));
            reach.answered(backend);
        }
        assert!(told.try_recv().is_err());
        (0..UNANSWERED).for_each(|_| reach.unanswered(backend));
        assert_eq!(told.try_recv(), Ok(Seen::Unanswered(backend)));
    }
}
