//! Small runs for the tests of the picture.

use crate::account::{Account, Header, Part};
use crate::format::{FaultKind, Scenario};
use crate::history::{Broken, Kind, Record, What};
use crate::oracle::{Surroundings, Violation};
use crate::plan::compile;
use crate::target::Target;
use crate::values::Node;

pub(super) const SCENARIO: &str = r#"
schema = "arqon.scenario/1"
why = "a test of </script><b>tags</b>"
duration = "60s"
[[actor]]
id = "chat"
count = 12
rooms = { fixed = ["lobby"] }
publish = { rate = "1/m" }
[check]
safety = ["no_duplicate"]
"#;

pub(super) fn part(id: u32, user: &str) -> Part {
    Part { id, cohort: "chat".into(), user: user.into(), tenant: "acme".into(), host: (id - 1) % 3 }
}

pub(super) fn connect(t_ms: u64, actor: u32, shield: u32) -> Vec<Record> {
    let ask = Record::new(t_ms, actor, 1, Kind::Invoke, What::Connect).id(1);
    let ok = Record::new(t_ms + 5, actor, 1, Kind::Ok, What::Connect).id(1);
    vec![Record { shield: Some(shield), ..ask }, ok]
}

pub(super) fn publish(t_ms: u64, actor: u32, room: &str, seq: u64) -> Record {
    let ask = Record::new(t_ms, actor, 1, Kind::Invoke, What::Publish);
    ask.room(room).publication(&format!("{actor}.1"), seq)
}

pub(super) fn recv(t_ms: u64, actor: u32, from: u32, room: &str, seq: u64) -> Record {
    let got = Record::new(t_ms, actor, 1, Kind::Recv, What::Publish);
    got.room(room).publication(&format!("{from}.1"), seq)
}

/// A fault from one moment to another.
pub(super) fn fault(
    number: u32,
    kind: FaultKind,
    node: Option<Node>,
    from_ms: u64,
    to_ms: u64,
) -> [Record; 2] {
    let broken = Broken { number, kind, node, peer: None, side: Vec::new() };
    [(from_ms, Kind::Invoke), (to_ms, Kind::Ok)]
        .map(|(t_ms, kind)| Record { fault: Some(broken.clone()), ..Record::world(t_ms, kind, What::Fault) })
}

pub(super) fn violation(t_ms: u64, what: &str) -> Violation {
    Violation { oracle: "no_duplicate", t_ms, what: what.to_owned() }
}

/// An account of a run of [`SCENARIO`] with this history.
pub(super) fn account(mut history: Vec<Record>) -> Account {
    let scenario = Scenario::parse(SCENARIO).expect("the test's scenario is good");
    let plan = compile(&scenario, 1);
    let surroundings =
        Surroundings { brains: 1, client_hosts: 3, lease_ms: 7_000, grace_ms: 2_000, keys_ms: 60_000 };
    history.sort_by_key(|r| r.t_ms);
    Account { header: Header::new(Target::Sim, "test.toml", SCENARIO, &plan, surroundings), history }
}
