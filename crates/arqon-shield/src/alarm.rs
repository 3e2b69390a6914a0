//! A timer that is set anew with every turn of a loop and nearly never goes off.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// Wakes its task at an instant, or earlier.
///
/// A loop that does not care about waking too early pays for the timer only when the instant moves forward in time, which is seldom;
/// a `sleep` for each turn enters and leaves the runtime's timers each time.
#[derive(Debug)]
pub(crate) struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    /// An alarm that has gone off already.
    pub(crate) fn new() -> Self {
        Self(Box::pin(tokio::time::sleep(Duration::ZERO)))
    }

    /// Goes off when `after` has passed from now at the latest.
    pub(crate) fn within(&mut self, after: Duration) {
        let at = Instant::now() + after;
        if self.0.is_elapsed() || at < self.0.deadline() {
            self.0.as_mut().reset(at);
        }
    }

    /// Ready once it has gone off.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }

    /// Waits until it goes off.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn rings(&mut self) {
        std::future::poll_fn(|cx| self.poll(cx)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_goes_off_at_the_earliest_of_what_was_asked() {
        let started = Instant::now();
        let mut alarm = Alarm::new();
        alarm.rings().await;
        for seconds in [30, 10, 20] {
            alarm.within(Duration::from_secs(seconds));
        }
        alarm.rings().await;
        assert_eq!(started.elapsed().as_secs(), 10);
        alarm.within(Duration::from_secs(5));
        alarm.rings().await;
        assert_eq!(started.elapsed().as_secs(), 15);
    }
}
