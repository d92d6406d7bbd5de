//! Supervised tasks of one thread, for connections: no allocation beyond the task itself, and no lock.

use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use futures_util::FutureExt;

use crate::ProcessMetrics;

/// Spawns tasks on the current thread; a panic in one is logged and counted by its name. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct LocalTasks(Rc<ProcessMetrics>);

impl LocalTasks {
    /// Counts panics in `metrics`.
    #[must_use]
    pub fn new(metrics: ProcessMetrics) -> Self {
        Self(Rc::new(metrics))
    }

    /// Runs a task whose end concerns nobody.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the supervisor every other local spawn goes through"
    )]
    pub fn spawn<F: Future + 'static>(&self, name: &'static str, task: F) {
        tokio::task::spawn_local(self.supervised(name, task));
    }

    /// A combinator and not an async block, which would have room for the task twice.
    fn supervised<F: Future + 'static>(
        &self,
        name: &'static str,
        task: F,
    ) -> impl Future<Output = ()> + use<F> {
        let metrics = Rc::clone(&self.0);
        AssertUnwindSafe(task).catch_unwind().map(move |ended| {
            if let Err(panic) = ended {
                metrics.panicked(name, &*panic);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_counted_and_the_others_go_on() {
        let runtime = tokio::runtime::LocalRuntime::new().unwrap();
        let (tasks, (done, told)) = (LocalTasks::default(), tokio::sync::oneshot::channel());
        runtime.block_on(async {
            tasks.spawn("connection", async { panic!("as from a malformed request") });
            tasks.spawn("connection", async { done.send(()) });
            told.await.unwrap();
        });
        assert_eq!(tasks.0.panics("connection"), 1);
    }

    #[test]
    fn supervision_costs_four_words() {
        let task = || async {
            let buffer = [0_u8; 4096];
            tokio::task::yield_now().await;
            assert_eq!(buffer[0], 0);
        };
        let (bare, supervised) = (task(), LocalTasks::default().supervised("x", task()));
        let cost = size_of_val(&supervised) - size_of_val(&bare);
        assert!(cost <= 4 * size_of::<usize>(), "{cost} bytes");
    }
}
