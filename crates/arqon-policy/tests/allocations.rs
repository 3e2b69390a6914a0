//! A warm core module that allows or replaces costs no allocation of the host.

use allocation_counter::measure;
use arqon_policy::{
    Asks, Binding, Engine, EngineConfig, Event, EventKind, Isolation, Judge, JudgeLimits, Limits, Mode,
    Module, Outcome, TenantPattern,
};
use arqon_proto::grant::Pattern;
use arqon_proto::id::{RoomRef, Tenant};
use arqon_proto::time::Now;

const ALLOW: &str = "(i64.const 0)";
/// Answers with `2 0 0 0 7`: the payload `7`.
const REPLACE: &str = "(i64.store (i32.const 16) (i64.const 0x3700000002)) (i64.const 0x1000000005)";

#[test]
fn judging_allocates_nothing() {
    let config = EngineConfig { instances_max: 4, ..EngineConfig::default() };
    let engine = Engine::new(config).expect("enough address space");
    let acme = Tenant::parse("acme").expect("a name");
    for (body, expected) in [(ALLOW, Outcome::Allow), (REPLACE, Outcome::Replace(b"7"))] {
        let text = format!(
            "(module (memory (export \"memory\") 1) (func (export \"arqon_abi_v1\"))
             (func (export \"arqon_buffer\") (param i32) (result i32) (i32.const 1024))
             (func (export \"arqon_evaluate\") (param i32 i32) (result i64) {body}))"
        );
        let module = Module::compile(&engine, &wat::parse_str(text).expect("WAT")).expect("a good module");
        let binding = Binding {
            name: "one".into(),
            version: "1".into(),
            module,
            tenant: TenantPattern::Any,
            rooms: Pattern::parse(">").expect("a pattern"),
            kinds: vec![EventKind::Publish],
            mode: Mode::Enforce,
            isolation: Isolation::Tenant,
            asks: Asks::default(),
            limits: Limits::default(),
        };
        let mut judge = Judge::new([binding].into(), JudgeLimits::default());
        let event = Event {
            kind: EventKind::Publish,
            tenant: &acme,
            room: Some(RoomRef::parse("chat").expect("a name")),
            sender: "ada",
            claims: "",
            headers: &[],
            payload: b"[1,2,3]",
            json: true,
            now_ms: 0,
        };
        let mut times = |n: u64| {
            for mono_ms in 0..n {
                let now = Now { mono_ms, wall_ms: 0 };
                assert_eq!(judge.judge(&event, now, &mut |_| {}), expected);
            }
        };
        times(100);
        let counted = measure(|| times(1_000));
        assert_eq!(counted.count_total, 0, "{expected:?}");
    }
}
