//! What operators order, carried out through a Shield as its server API does.

use arqon_proto::generated::arqon::v1 as pb;
use arqon_scenario::operate::Order;
use arqon_scenario::{Kind, Node, Record, What};
use arqon_shield::app::Control;
use tokio::sync::mpsc;

use crate::clock::now_ms;
use crate::recorder::Recorder;

/// Orders that may wait at one Shield.
const WAITING_MAX: usize = 64;
/// Given with every order.
pub(crate) const REASON: &str = "ordered by the scenario";

/// Where a Shield takes orders.
pub(crate) type Desk = mpsc::Sender<Order>;

/// A desk, and the task behind it; to be polled on the Shield's host.
pub(crate) fn desk(control: Control, recorder: Recorder) -> (Desk, impl Future<Output = ()>) {
    let (desk, mut orders) = mpsc::channel(WAITING_MAX);
    let task = async move {
        while let Some(order) = orders.recv().await {
            // One order may take seconds, and operators do not wait for each other.
            tokio::task::spawn_local(carry_out(control.clone(), recorder.clone(), order));
        }
    };
    (desk, task)
}

/// How an order stands in the history.
pub(crate) fn record(now_ms: u64, kind: Kind, order: &Order) -> Record {
    let line = Record::world(now_ms, kind, What::Operate);
    match order {
        Order::Kick { tenant, user } => {
            Record { tenant: Some(tenant.clone()), users: Some(vec![user.clone()]), ..note(line, "kick") }
        }
        Order::Revoke { tenant, user, .. } => {
            Record { tenant: Some(tenant.clone()), users: Some(vec![user.clone()]), ..note(line, "revoke") }
        }
        Order::Settings { tenant, room, .. } => {
            Record { tenant: Some(tenant.clone()), ..note(line, "settings").room(room) }
        }
        Order::CloseRoom { tenant, room } => {
            Record { tenant: Some(tenant.clone()), ..note(line, "close_room").room(room) }
        }
        Order::Drain { shield } => Record { shield: Some(*shield), ..note(line, "drain") },
    }
}

fn note(line: Record, what: &str) -> Record {
    Record { note: Some(what.to_owned()), ..line }
}

async fn carry_out(control: Control, recorder: Recorder, order: Order) {
    recorder.add(record(now_ms(), Kind::Invoke, &order));
    let operator = control.operator();
    let done = match &order {
        Order::Settings { tenant, room, members_max, publish_rate_per_s } => {
            let line = pb::RoomSetting {
                tenant: tenant.clone(),
                pattern: room.clone(),
                members_max: *members_max,
                publish_rate_per_s: *publish_rate_per_s,
                ..Default::default()
            };
            match operator.ask(pb::AskSettings::default()).await {
                Ok(pb::answer::Result::Settings(present)) => {
                    let set = pb::Settings { rooms: vec![line], ..present };
                    operator.ask(pb::ask::Kind::Set(set)).await
                }
                other => other,
            }
        }
        Order::Kick { tenant, user } => {
            let (tenant, user, reason) = (tenant.clone(), user.clone(), REASON.to_owned());
            operator.ask(pb::Kick { tenant, user, reason, ..Default::default() }).await
        }
        Order::Revoke { tenant, user, for_ms } => {
            let (tenant, user, at_ms) = (tenant.clone(), user.clone(), operator.now().wall_ms);
            let until_ms = at_ms + for_ms;
            operator.ask(pb::Revocation { tenant, user, at_ms, until_ms, ..Default::default() }).await
        }
        Order::CloseRoom { tenant, room } => {
            let (subject, reason) = (format!("{tenant}.{room}"), REASON.to_owned());
            operator.ask(pb::CloseRoom { subject, reason, ..Default::default() }).await
        }
        Order::Drain { shield } => {
            let shield = crate::shield_host::name(Node::Shield(*shield));
            operator.ask(pb::AskDrain { shield, reason: REASON.to_owned() }).await
        }
    };
    recorder.add(match done {
        Ok(_) => record(now_ms(), Kind::Ok, &order),
        Err(error) => {
            let failed = record(now_ms(), Kind::Fail, &order).code(error.code.number());
            let note = format!("{}: {}", failed.note.as_deref().unwrap_or_default(), error.message);
            Record { note: Some(note), ..failed }
        }
    });
}
