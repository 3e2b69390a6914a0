//! `arq policy dry-run`: what modules would have said of a scenario, a history and a file of events.

mod support;

use std::fs;
use std::path::Path;

use arqon_scenario::account::Header;
use arqon_scenario::oracle::Surroundings;
use arqon_scenario::payload::{Claim, publisher, seal};
use arqon_scenario::plan::{Do, EPOCH_MS, Plan, compile};
use arqon_scenario::{Account, Kind, Record, Scenario, Target, What};
use expect_test::expect;
use serde_json::Value;
use support::{arq, shown};

const SCENARIO: &str = r#"
schema = "arqon.scenario/1"
why = "a test"
duration = "10s"
[[actor]]
id = "calm"
count = 3
tenants = ["acme", "globex"]
rooms = { fixed = ["lobby"] }
track = true
publish = { rate = "2/s", size = [0, 64] }
[[actor]]
id = "loud"
count = 2
rooms = { fixed = ["lobby", "hall"] }
publish = { rate = "3/s" }
[[actor]]
id = "thief"
kind = "hostile"
rooms = { fixed = ["lobby"] }
publish = { rate = "1/s" }
[check]
"#;

/// The module with this in its `arqon_evaluate`.
fn module(body: &str) -> String {
    format!(
        r#"(module (memory (export "memory") 4)
          (data (i32.const 16) "\01\00\e9\03quiet, please")
          (data (i32.const 48) "\02\00\00\00\22other\22")
          (func (export "arqon_abi_v1"))
          (func (export "arqon_buffer") (param i32) (result i32) (i32.const 1024))
          (func (export "arqon_evaluate") (param $at i32) (param $len i32) (result i64) {body}))"#
    )
}

/// Denies whose name begins with `loud`: the sender is the third field.
const QUIET: &str = "(if (result i64)
  (i32.eq (i32.load (i32.add (local.get $at) (i32.load offset=32 (local.get $at)))) (i32.const 0x64756f6c))
  (then (i64.const 0x1000000011)) (else (i64.const 0)))";
/// Denies what has claims: theirs is the fourth length.
const CLAIMS: &str = "(if (result i64) (i32.load offset=44 (local.get $at))
  (then (i64.const 0x1000000011)) (else (i64.const 0)))";
const ALLOW: &str = "(i64.const 0)";
const REPLACE: &str = "(i64.const 0x300000000b)";

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let bodies = [
        ("quiet", QUIET),
        ("claims", CLAIMS),
        ("allow", ALLOW),
        ("replace", REPLACE),
        ("trap", "unreachable"),
    ];
    for (name, body) in bodies {
        fs::write(dir.path().join(format!("{name}.wat")), module(body)).expect("a module");
    }
    fs::write(dir.path().join("s.toml"), SCENARIO).expect("a scenario");
    dir
}

fn dry_run(dir: &Path, args: &str) -> String {
    let args: Vec<&str> = ["policy", "dry-run"].into_iter().chain(args.split(' ')).collect();
    shown(&arq(dir, &args))
}

fn document(said: &str) -> Value {
    let line = said.strip_prefix("exit 0\n").unwrap_or_else(|| panic!("{said}"));
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {said}"))
}

fn plan(seed: u64) -> Plan {
    compile(&Scenario::parse(SCENARIO).expect("the test's scenario is good"), seed)
}

/// Publications that a token grants, of whom the name begins with this.
fn publications(plan: &Plan, name: &str) -> u64 {
    let who = |id: u32| plan.actors.iter().find(|actor| actor.id == id);
    let count = plan.ops.iter().filter(|op| match &op.r#do {
        Do::Publish { room, .. } => {
            who(op.actor).is_some_and(|a| a.user.starts_with(name) && a.rooms.contains(room))
        }
        _ => false,
    });
    count.count() as u64
}

#[test]
fn two_versions_differ_on_exactly_what_one_of_them_denies() {
    let (dir, plan) = (folder(), plan(7));
    let (all, loud) = (publications(&plan, ""), publications(&plan, "loud"));
    assert!(loud > 20 && all > loud, "the test needs both: {loud} of {all}");
    let args = "--module quiet.wat --against allow.wat --scenario s.toml --seed 7";
    let said = document(&dry_run(dir.path(), &format!("{args} --json")));
    let [new, old] = [&said["modules"][0]["kinds"]["publish"], &said["modules"][1]["kinds"]["publish"]];
    assert_eq!((&new["allow"], &new["deny"]["1001"]), (&Value::from(all - loud), &Value::from(loud)));
    assert_eq!((&old["allow"], &old["deny"]), (&Value::from(all), &serde_json::json!({})));
    assert!(new["fuel"].as_u64() > new["fuel_max"].as_u64() && new["fuel_max"].as_u64() > Some(0), "{new}");
    let differences = &said["differences"];
    assert_eq!(differences["count"], loud);
    assert_eq!(differences["shown"].as_array().map(Vec::len), Some(20));
    assert_eq!(differences["shown"][0]["new"]["deny"], 1001);
    assert!(differences["shown"][0].get("payload").is_none(), "nobody asked for payloads");
    // The thief's other room, which no token grants.
    assert!(said["left_out"].as_u64() > Some(0), "{said}");
    assert_eq!(said["judged"], all);

    let text = dry_run(dir.path(), &format!("{args} --show 2 --fail-on-difference"));
    assert!(
        text.starts_with("exit 1\n") && text.ends_with(&format!("arq: {loud} verdicts differ\n")),
        "{text}"
    );
    assert_eq!(text.matches("publish: allow -> deny 1001").count(), 2);
    assert!(text.contains(&format!("and {} more", loud - 2)) && !text.contains("\"t\":\"acme\""), "{text}");
    let same = dry_run(dir.path(), &args.replace("allow.wat", "quiet.wat --fail-on-difference"));
    assert!(same.starts_with("exit 0") && same.contains("\n0 verdicts differ"), "{same}");
}

#[test]
fn rooms_and_kinds_are_those_of_the_binding() {
    let (dir, plan) = (folder(), plan(1));
    let count = |what: fn(&Do) -> bool| plan.ops.iter().filter(|op| what(&op.r#do)).count();
    let args = "--module allow.wat --scenario s.toml --json --on";
    let said = document(&dry_run(dir.path(), &format!("{args} connect,subscribe,presence")));
    let kinds = &said["modules"][0]["kinds"];
    assert_eq!(kinds["connect"]["allow"], count(|op| matches!(op, Do::Connect)));
    assert_eq!(
        kinds["subscribe"]["allow"],
        count(|op| matches!(op, Do::Subscribe { room } if room != "forbidden"))
    );
    assert_eq!((&kinds["presence"]["allow"], kinds.get("publish")), (&Value::from(3), None));
    let said = document(&dry_run(dir.path(), &format!("{args} subscribe --room hall")));
    assert_eq!(said["modules"][0]["kinds"]["subscribe"]["allow"], 2);
    let said = dry_run(dir.path(), &format!("{args} connect --room hall"));
    assert!(said.starts_with("exit 2"), "{said}");
    let said = dry_run(dir.path(), &format!("{args} publish --room nowhere"));
    assert!(said.starts_with("exit 1") && said.contains("no event was judged"), "{said}");
}

#[test]
fn a_history_is_judged_by_what_its_clients_asked_for() {
    let (dir, plan) = (folder(), plan(3));
    let surroundings =
        Surroundings { brains: 1, client_hosts: 1, lease_ms: 6_000, grace_ms: 5_000, keys_ms: 60_000 };
    let header = Header::new(Target::Local, "s.toml", SCENARIO, &plan, surroundings);
    let asks = |t_ms, actor, what| Record::new(t_ms, actor, 2, Kind::Invoke, what);
    let (ours, publish) = (publisher(1, 2), What::Publish);
    let history = vec![
        asks(5, 1, What::Connect),
        Record { track: true, ..asks(6, 1, What::Subscribe).room("lobby") },
        Record { pad: 9, ..asks(7, 1, publish).room("lobby").publication(&ours, 4) },
        Record::new(9, 1, 2, Kind::Ok, publish).room("lobby").publication(&ours, 4),
        asks(11, 6, publish).room("forbidden").publication(&publisher(6, 2), 1),
    ];
    fs::write(dir.path().join("h.jsonl"), Account { header, history }.to_text()).expect("a history");
    let args = "--module replace.wat --against allow.wat --history h.jsonl --payloads --json --on";
    let said = document(&dry_run(dir.path(), &format!("{args} subscribe,publish,presence")));
    assert_eq!((&said["events"], &said["left_out"], &said["judged"]), (&4.into(), &1.into(), &3.into()));
    let shown = &said["differences"]["shown"];
    assert_eq!((&shown[0]["kind"], &shown[1]["kind"]), (&"subscribe".into(), &"presence".into()));
    let room = "lobby".to_owned();
    let claim = Claim { tenant: "acme".to_owned(), room, publisher: ours, seq: 4 };
    let expected = serde_json::json!({
        "at": 4, "now_ms": EPOCH_MS + 7, "tenant": "acme", "room": "lobby", "sender": "calm.0", "kind": "publish",
        "before": "allow", "new": { "replace": "\"other\"" }, "payload": seal(3, &claim, 9),
    });
    assert_eq!(shown[2], expected);
}

#[test]
fn events_of_a_file_come_in_the_order_of_time_and_failures_suspend() {
    let dir = folder();
    let at =
        |ms: u64| format!("{{\"tenant\":\"acme\",\"sender\":\"loud\",\"payload\":\"1\",\"now_ms\":{ms}}}\n");
    // The last line comes first.
    let text = at(5_000) + &at(1_000).repeat(10) + "\n" + &at(500).replace("acme", "globex");
    fs::write(dir.path().join("e.jsonl"), text).expect("events");
    let said = dry_run(dir.path(), "--module trap.wat --against quiet.wat --events e.jsonl --show 2");
    let said: String =
        said.lines().filter(|line| !line.contains(".wat ")).map(|line| format!("{line}\n")).collect();
    expect![[r#"
        exit 0
        12 events, 12 judged
          publish: 2 fail policy_suspended, 10 fail policy_trap; fuel 300030, 30003 at most
          publish: 12 deny 1001; fuel 60144, 30012 at most
        12 verdicts differ
          13  500  globex  chat  loud  publish: deny 1001 -> fail policy_trap
          2  1000  acme  chat  loud  publish: deny 1001 -> fail policy_trap
          and 10 more: --show says how many are printed
    "#]]
    .assert_eq(&said);
}

#[test]
fn claims_are_seen_by_who_asks_for_them() {
    let dir = folder();
    let with = "{\"claims\":\"{}\",\"payload\":\"1\",\"now_ms\":1}\n{\"payload\":\"1\",\"now_ms\":1}\n";
    fs::write(dir.path().join("e.jsonl"), with).expect("events");
    for (asks, denied) in [("", None), (" --claims", Some(1))] {
        let said =
            document(&dry_run(dir.path(), &format!("--module claims.wat --events e.jsonl --json{asks}")));
        assert_eq!(said["modules"][0]["kinds"]["publish"]["deny"]["1001"].as_u64(), denied, "{said}");
    }
}

#[test]
fn a_line_that_is_wrong_is_named() {
    let dir = folder();
    let good = "{\"payload\":\"1\",\"now_ms\":1}\n";
    for (bad, says) in [
        ("{\"payload\":\"1\"}", "`now_ms` is missing"),
        ("{\"colour\":1,\"now_ms\":1}", "colour"),
        ("{\"kind\":\"think\",\"now_ms\":1}", "think"),
        ("{\"payload\":\"{\",\"now_ms\":1}", "payload is not JSON"),
        ("{\"room\":\"lob*by\",\"now_ms\":1}", "character"),
        ("{\"why\":\"\",\"now_ms\":1}", "belong to cases.toml"),
        ("nonsense", "expected"),
    ] {
        fs::write(dir.path().join("e.jsonl"), format!("{good}\n{bad}\n{good}")).expect("events");
        let said = dry_run(dir.path(), "--module allow.wat --events e.jsonl");
        assert!(said.starts_with("exit 64\narq: e.jsonl: line 3: ") && said.contains(says), "{bad}: {said}");
    }
    let said = dry_run(dir.path(), "--module allow.wat --history s.toml");
    assert!(said.starts_with("exit 64") && said.contains("no account of a run"), "{said}");
    let said = dry_run(dir.path(), "--module s.toml --scenario s.toml");
    assert!(said.starts_with("exit 64\narq: s.toml: "), "{said}");
}
