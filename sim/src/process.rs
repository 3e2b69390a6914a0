//! One process of a host: it can be stopped and go on, as by SIGSTOP and SIGCONT, while its kernel takes bytes for it.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use tokio::task::LocalSet;

/// Stops a process. Survives its restarts, which go on. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Brake(Rc<State>);

#[derive(Debug, Default)]
struct State {
    stopped: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

impl Brake {
    /// Nothing of the process runs from now on: it reads, writes and times nothing.
    pub(crate) fn stop(&self) {
        self.0.stopped.set(true);
    }

    /// It goes on, with all timers that ran out meanwhile.
    pub(crate) fn release(&self) {
        self.0.stopped.set(false);
        if let Some(waker) = self.0.waiting.take() {
            waker.wake();
        }
    }

    /// Runs a process and all tasks that it spawns on the local set. They end with it.
    pub(crate) async fn run<F: Future>(&self, process: F) -> F::Output {
        // A set of its own, so that the tasks stand still with the process.
        let local = LocalSet::new();
        let mut inside = pin!(local.run_until(process));
        std::future::poll_fn(|cx| {
            if self.0.stopped.get() {
                self.0.waiting.replace(Some(cx.waker().clone()));
                return Poll::Pending;
            }
            inside.as_mut().poll(cx)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stopped_process_and_its_tasks_do_nothing_until_they_go_on() {
        let ticks = Rc::new(Cell::new(0));
        let (brake, seen) = (Brake::default(), Rc::clone(&ticks));
        let process = async move {
            let task = tokio::task::spawn_local(async move {
                loop {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    seen.set(seen.get() + 1);
                }
            });
            let _ = task.await;
        };
        let others = async {
            tokio::time::sleep(Duration::from_millis(2_500)).await;
            let before = ticks.get();
            brake.stop();
            tokio::time::sleep(Duration::from_secs(10)).await;
            let stopped = ticks.get();
            brake.release();
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            (before, stopped, ticks.get())
        };
        let counted = tokio::select! {
            () = brake.run(process) => unreachable!("the process never ends"),
            counted = others => counted,
        };
        assert_eq!(counted, (2, 2, 4), "the timer that ran out meanwhile fires once, at the end");
    }
}
