//! What Shields say of themselves.

use std::net::SocketAddr;
use std::time::Duration;

use arqon_scenario::{Kind, Node, Record, What};
use arqon_stack::http;
use serde::Deserialize;

use super::ground::LiveGround;
use crate::driver::Ground as _;
use crate::recorder::Recorder;
use crate::shield_host::missing_text;

/// How often each is asked.
const EVERY: Duration = Duration::from_millis(100);
/// Who does not answer by then says nothing.
const ANSWERS_WITHIN: Duration = Duration::from_millis(500);
/// What the metric of the fullest egress queue is called.
const PEAK: &str = "arqon_shield_egress_peak_bytes ";

#[derive(Debug, Deserialize)]
struct Readiness {
    ready: bool,
    checks: Vec<Check>,
}

#[derive(Debug, Deserialize)]
struct Check {
    name: String,
    ok: bool,
    reason: String,
}

impl Readiness {
    fn missing(&self) -> Option<String> {
        let missing = self.checks.iter().filter(|check| !check.ok);
        missing_text(missing.map(|check| (check.name.as_str(), check.reason.as_str())))
    }
}

/// Asks one Shield for ever, and writes down what has changed.
pub(crate) async fn watch(
    shield: u32,
    admin: SocketAddr,
    egress_max: u64,
    ground: LiveGround,
    recorder: Recorder,
) {
    let mut said = (true, None);
    let mut peak = 0;
    loop {
        if let Some(readiness) = readiness(admin).await {
            let now = (readiness.ready, readiness.missing());
            if now != said {
                said.clone_from(&now);
                let probe = Record::world(ground.now_ms(), Kind::Probe, What::Ready);
                let (ready, note) = (Some(now.0), now.1);
                recorder.add(Record { shield: Some(shield), ready, note, ..probe });
            }
        }
        if let Some(bytes) = egress_peak(admin).await.filter(|bytes| *bytes > peak) {
            peak = bytes;
            let probe = Record::world(ground.now_ms(), Kind::Probe, What::Other);
            let note = Some(format!("egress of {}", Node::Shield(shield)));
            recorder.add(Record { bytes: Some((bytes, egress_max)), note, ..probe });
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn get(admin: SocketAddr, path: &str) -> Option<String> {
    let answer = tokio::time::timeout(ANSWERS_WITHIN, http::get(admin, path)).await.ok()??;
    Some(answer.1)
}

async fn readiness(admin: SocketAddr) -> Option<Readiness> {
    serde_json::from_str(&get(admin, "/health/ready").await?).ok()
}

async fn egress_peak(admin: SocketAddr) -> Option<u64> {
    let metrics = get(admin, "/metrics").await?;
    metrics.lines().find_map(|line| line.strip_prefix(PEAK))?.trim().parse().ok()
}
