//! The Shields of the bus.

use arqon_proto::generated::arqon::v1 as pb;
use arqon_proto::id::ShieldId;
use axum::Json;
use serde::Serialize;

use super::ApiError;
use super::call::{Call, strange};
use super::policies::hex;
use super::read;
use super::rooms::{Done, Reason};

#[derive(Serialize)]
pub(super) struct Shields {
    shields: Vec<ShieldInfo>,
    /// The version of the settings that all should run.
    settings: u64,
    brain: BrainInfo,
}

/// The Brain that answered.
#[derive(Serialize)]
struct BrainInfo {
    version: String,
    /// Empty: it does all it should.
    degraded: String,
}

#[derive(Serialize)]
struct ShieldInfo {
    shield: String,
    incarnation: u64,
    up: bool,
    silent_ms: u64,
    /// Null before its first heartbeat.
    load: Option<Load>,
}

#[derive(Serialize)]
struct Load {
    sockets: u64,
    rooms: u64,
    received: u64,
    delivered: u64,
    version: String,
    draining: bool,
    settings: u64,
    policies: Vec<Running>,
}

/// A policy, and the module that judges for it there.
#[derive(Serialize)]
struct Running {
    name: String,
    module: String,
    version: String,
}

impl From<pb::Load> for Load {
    fn from(load: pb::Load) -> Self {
        let pb::Load { sockets, rooms, received, delivered, version, draining, settings, policies, .. } =
            load;
        let running =
            |it: pb::Running| Running { name: it.name, module: hex(&it.module), version: it.version };
        let policies = policies.into_iter().map(running).collect();
        Self { sockets, rooms, received, delivered, version, draining, settings, policies }
    }
}

pub(super) async fn shields(call: Call) -> Result<Json<Shields>, ApiError> {
    call.query([])?;
    let info = |info: pb::ShieldInfo| ShieldInfo {
        shield: info.shield,
        incarnation: info.incarnation,
        up: info.up,
        silent_ms: info.silent_ms,
        load: info.load.as_option().cloned().map(Load::from),
    };
    let (mut shields, mut after) = (Vec::new(), String::new());
    loop {
        let page = pb::AskShields { after };
        let pb::answer::Result::Shields(list) = call.ask(page).await? else { return Err(strange()) };
        let last = list.shields.last().map(|info| info.shield.clone());
        shields.extend(list.shields.into_iter().map(info));
        match last {
            Some(last) if list.more => after = last,
            _ => {
                let brain = BrainInfo { version: list.version, degraded: list.degraded };
                return Ok(Json(Shields { shields, settings: list.settings, brain }));
            }
        }
    }
}

pub(super) async fn drain(call: Call) -> Result<Json<Done>, ApiError> {
    call.query([])?;
    let shield = ShieldId::parse(call.param("shield")?)?;
    let Reason { reason } = read::object(&call.body, &["reason"])?;
    let reason = read::reason(reason, "an operator drains the Shield")?;
    let order = pb::AskDrain { shield: shield.as_str().to_owned(), reason };
    match call.order(order).await {
        Ok(done) => Ok(Json(done.into())),
        // Going away is what it was asked: with the answer lost on the way out, that it does says the same.
        Err(error)
            if shield == *call.operator.shield() && call.operator.is_draining() && error.is_unknown() =>
        {
            Ok(Json(Done { reached: vec![shield.as_str().to_owned()], unreached: Vec::new() }))
        }
        Err(error) => Err(error),
    }
}
