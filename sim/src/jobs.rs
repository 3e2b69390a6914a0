//! Runs in processes of their own, several at a time: two worlds in one process would not be repeatable.

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context as _;

/// This program, to run a scenario or plan file; what it should do besides is added by the caller.
///
/// # Errors
/// The system does not know where this program is.
pub(crate) fn child(path: &Path, plant: Option<&str>) -> anyhow::Result<Command> {
    let me = std::env::current_exe().context("the path of this program")?;
    let mut child = Command::new(me);
    // A panic's first lines are enough.
    child.env("RUST_BACKTRACE", "0").arg("run").arg(path);
    child.args(plant.iter().flat_map(|bug| ["--plant", bug]));
    Ok(child)
}

/// Does `work` for each number below `count`, `jobs` at a time. Returns what came of each, in order.
///
/// # Errors
/// The first that any of them has; or a worker panicked.
pub(crate) fn in_parallel<T: Send>(
    jobs: usize,
    count: usize,
    work: impl Fn(usize) -> anyhow::Result<T> + Sync,
) -> anyhow::Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(count));
    let worker = || -> anyhow::Result<()> {
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= count {
                return Ok(());
            }
            let result = work(n)?;
            done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((n, result));
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|w| w.join().unwrap_or_else(|_| anyhow::bail!("a worker panicked")))
    })?;
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(n, _)| *n);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_turn_and_the_order_stays() {
        for jobs in [0, 1, 3] {
            assert_eq!(
                in_parallel(jobs, 50, |n| Ok(n * 2)).expect("no error"),
                (0..50).map(|n| n * 2).collect::<Vec<_>>()
            );
        }
        assert!(in_parallel(2, 50, |n| if n == 7 { anyhow::bail!("seven") } else { Ok(()) }).is_err());
    }
}
