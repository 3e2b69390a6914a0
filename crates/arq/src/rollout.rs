//! A change on its way to the Shields of a bus: who runs it already.

use std::time::Duration;

use serde_json::Value;

use crate::api::Api;
use crate::failure::Failure;
use crate::print::print_line;

/// Shields tell what they run with a heartbeat, every two seconds.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The Shields that are up and concerned.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rollout {
    pub(crate) running: Vec<String>,
    pub(crate) behind: Vec<String>,
}

impl Rollout {
    /// Sorts them by what `runs` says of each; `None`: it is not concerned.
    pub(crate) fn of(shields: &Value, runs: impl Fn(&Value) -> Option<bool>) -> Self {
        let mut rollout = Self::default();
        for shield in shields["shields"].as_array().into_iter().flatten().filter(|it| it["up"] == true) {
            let name = shield["shield"].as_str().unwrap_or_default().to_owned();
            match runs(shield) {
                Some(true) => rollout.running.push(name),
                Some(false) => rollout.behind.push(name),
                None => {}
            }
        }
        rollout
    }

    /// Waits until nobody is behind, for so long.
    ///
    /// # Errors
    /// The Shields cannot be asked.
    pub(crate) async fn wait(
        api: &Api,
        wait: Duration,
        runs: impl Fn(&Value) -> Option<bool>,
    ) -> Result<Self, Failure> {
        let mut last = Self::default();
        let all = async {
            loop {
                last = Self::of(&api.get("/v1/shields").await?, &runs);
                if last.behind.is_empty() {
                    return Ok::<(), Failure>(());
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        match tokio::time::timeout(wait, all).await {
            Ok(Err(failure)) => Err(failure),
            Ok(Ok(())) | Err(_) => Ok(last),
        }
    }

    /// Prints who runs `what`, or `document` with who does; a failure if somebody does not.
    pub(crate) fn print(&self, what: &str, document: Option<Value>, look: &str) -> Result<(), Failure> {
        let Self { running, behind } = self;
        match document {
            Some(mut document) => {
                document["running"] = running.clone().into();
                document["behind"] = behind.clone().into();
                print_line(document.to_string().as_bytes())?;
            }
            None => print_line(format!("{what} runs on: {}", running.join(", ")).as_bytes())?,
        }
        if behind.is_empty() {
            return Ok(());
        }
        Err(Failure::failed(format!("not yet on: {}; see {look}", behind.join(", "))))
    }
}
