//! The wait of an exchange for the cut of its route.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::exchange::Exchange;
use crate::connections::Phase;

/// A wait for the cut of an exchange's route. It allocates only if the exchange has a membership of its own.
#[derive(Default)]
pub(crate) struct CutWait(Option<Pin<Box<dyn Future<Output = ()>>>>);

impl CutWait {
    /// Resolves when the route of `exchange` is cut; never if the exchange has no membership of its own.
    pub(crate) fn poll(&mut self, exchange: &Exchange, cx: &mut Context<'_>) -> Poll<()> {
        let Some(membership) = exchange.membership() else { return Poll::Pending };
        let wait = self.0.get_or_insert_with(|| {
            let watch = Rc::clone(membership.watch());
            Box::pin(async move { watch.reaches(Phase::Cut).await })
        });
        wait.as_mut().poll(cx)
    }
}

impl fmt::Debug for CutWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CutWait").field(&self.0.is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use prometheus_client::metrics::counter::Counter;
    use webgateway_process::LocalTasks;
    use webgateway_proto::model::RouteId;

    use super::super::backlog::WorkerBacklog;
    use super::super::exchange::Progress;
    use super::*;
    use crate::connections::Connections;

    #[tokio::test]
    async fn an_exchange_with_its_own_membership_is_cut_with_its_route() {
        let (progress, connections) = (
            Progress::new(Rc::default(), LocalTasks::default(), WorkerBacklog::new(0, Counter::default())),
            Rc::new(Connections::default()),
        );
        let (own, other) = (progress.begin_exchange(), progress.begin_exchange());
        let route = RouteId::from_bytes([1; 16]);
        other.join_route(connections.enter(Some(route)));
        let (mut of_own, mut of_other) = (CutWait::default(), CutWait::default());
        let poll = |wait: &mut CutWait, exchange: &Exchange| {
            wait.poll(exchange, &mut Context::from_waker(Waker::noop())).is_ready()
        };
        assert!(!poll(&mut of_own, &own) && !poll(&mut of_other, &other));
        connections.end_route(route, Phase::Draining);
        assert!(!poll(&mut of_other, &other) && !other.is_cut());
        connections.end_draining(route);
        assert!(poll(&mut of_other, &other) && other.is_cut());
        assert!(!poll(&mut of_own, &own) && !own.is_cut());
        drop(other);
        assert!(connections.is_empty());
    }
}
