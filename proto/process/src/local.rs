//! Supervised tasks on one thread, for connections. Supervision needs no lock and no further allocation.

use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use futures_util::FutureExt;

use crate::ProcessMetrics;

/// A spawner of tasks on the current thread. A panic is logged and counted by the task's name. Clones share the
/// counters.
#[derive(Debug, Clone, Default)]
pub struct LocalTasks(Rc<ProcessMetrics>);

impl LocalTasks {
    /// Makes a spawner that counts panics in `metrics`.
    #[must_use]
    pub fn new(metrics: ProcessMetrics) -> Self {
        Self(Rc::new(metrics))
    }

    /// Spawns a task whose end has no effect on others.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the supervisor every other local spawn goes through"
    )]
    pub fn spawn<F: Future + 'static>(&self, name: &'static str, task: F) {
        tokio::task::spawn_local(self.supervised(name, task));
    }

    /// Wraps a task. A combinator, because an async block would hold the task twice.
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
    fn a_panic_is_counted_and_other_tasks_continue() {
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
    fn supervision_takes_at_most_four_words() {
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
