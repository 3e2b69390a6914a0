//! Several policies: which are asked, in which order, and who is left out for a while.

use std::sync::Arc;

use arqon_policy::{
    Asks, Binding, Denial, Engine, Event, EventKind, FailureKind, Isolation, Judge, JudgeLimits, Limits,
    Mode, Module, Outcome, TenantPattern,
};
use arqon_proto::grant::Pattern;
use arqon_proto::time::Now;

use super::modules::{Abi, BOTH, module};
use super::{COUNTS_CALLS, engine, event, tenant};

pub(crate) const ALLOW: &str = "(call $allow)";
const DENY: &str = "(call $deny (i32.const 1234) (i32.const 16) (i32.const 11))";
pub(crate) const REPLACE: &str = "(call $replace (i32.const 80) (i32.const 7))";
const TRAP: &str = "unreachable";
/// Denies what is longer than a byte.
const SHORT: &str = "(if (i32.gt_u (local.get $n) (i32.const 1)) (then (return (call $deny (i32.const 1500) (i32.const 16) (i32.const 11))))) (call $allow)";

pub(crate) fn at(mono_ms: u64) -> Now {
    Now { mono_ms, wall_ms: 0 }
}

pub(crate) fn bind(name: &str, module: Module) -> Binding {
    Binding {
        name: name.into(),
        version: "1".into(),
        module,
        tenant: TenantPattern::Any,
        rooms: Pattern::parse(">").expect("a pattern"),
        kinds: vec![EventKind::Publish],
        mode: Mode::Enforce,
        isolation: Isolation::Tenant,
        asks: Asks::default(),
        limits: Limits::default(),
    }
}

fn judge(bindings: Vec<Binding>) -> Judge {
    Judge::new(bindings.into(), JudgeLimits::default())
}

/// The outcome in words, and who was asked.
fn ask(judge: &mut Judge, event: &Event<'_>, now: Now) -> (String, Vec<String>) {
    let mut asked = Vec::new();
    let outcome = match judge.judge(event, now, &mut |step| asked.push(step.binding.name.to_string())) {
        Outcome::Allow => "allow".to_owned(),
        Outcome::Replace(payload) => String::from_utf8_lossy(payload).into_owned(),
        Outcome::Deny(Denial { policy, code, retry_after_ms, .. }) => {
            format!("{policy} {code} {retry_after_ms:?}")
        }
    };
    (outcome, asked)
}

#[test]
fn they_are_asked_in_order_until_one_refuses() {
    let (engine, acme) = (engine(), tenant("acme"));
    for abi in BOTH {
        let named = |name: &str, body: &str| bind(name, module(&engine, abi, body));
        let mut all = judge(vec![named("a", ALLOW), named("b", DENY), named("c", ALLOW)]);
        let (outcome, asked) = ask(&mut all, &event(&acme, b"1"), at(0));
        assert_eq!((outcome.as_str(), asked.join(" ").as_str()), ("b 1234 None", "a b"));
        let mut chain = judge(vec![named("short", SHORT), named("new", REPLACE), named("short2", SHORT)]);
        let (outcome, _) = ask(&mut chain, &event(&acme, b"1"), at(0));
        assert_eq!(
            outcome, "short2 1500 None",
            "{abi:?}: the next sees what the one before has put in its place"
        );
        let mut new = judge(vec![named("new", REPLACE)]);
        assert_eq!(ask(&mut new, &event(&acme, b"1"), at(0)).0, "{\"a\":1}");
    }
}

#[test]
fn only_those_that_are_bound_to_it_are_asked() {
    let (engine, acme, globex) = (engine(), tenant("acme"), tenant("globex"));
    let deny = module(&engine, Abi::Core, DENY);
    let mut binding = bind("only", deny);
    binding.tenant = TenantPattern::One(acme.clone());
    binding.rooms = Pattern::parse("chat.*").expect("a pattern");
    let mut all = judge(vec![binding]);
    assert_eq!(ask(&mut all, &event(&acme, b"1"), at(0)).1.len(), 1);
    assert_eq!(ask(&mut all, &event(&globex, b"1"), at(0)), ("allow".to_owned(), vec![]));
    let elsewhere =
        Event { room: Some(arqon_proto::id::RoomRef::parse("lobby").expect("a room")), ..event(&acme, b"1") };
    assert_eq!(ask(&mut all, &elsewhere, at(0)), ("allow".to_owned(), vec![]));
    let connect = Event { kind: EventKind::Connect, room: None, ..event(&acme, b"") };
    assert_eq!(ask(&mut all, &connect, at(0)), ("allow".to_owned(), vec![]));
    assert_eq!(all.asks(EventKind::Publish, &globex, event(&globex, b"").room), None);
    assert_eq!(all.asks(EventKind::Publish, &acme, event(&acme, b"").room), Some(Asks::default()));
}

#[test]
fn a_shadow_decides_nothing() {
    let (engine, acme) = (engine(), tenant("acme"));
    for body in [DENY, REPLACE, TRAP] {
        let mut shadow = bind("shadow", module(&engine, Abi::Core, body));
        shadow.mode = Mode::Shadow;
        let mut all = judge(vec![shadow]);
        assert_eq!(
            ask(&mut all, &event(&acme, b"1"), at(0)),
            ("allow".to_owned(), vec!["shadow".to_owned()])
        );
    }
}

#[test]
fn one_that_keeps_failing_is_left_out_and_tried_again() {
    let (engine, acme) = (engine(), tenant("acme"));
    for abi in BOTH {
        let mut all = judge(vec![bind("bad", module(&engine, abi, TRAP))]);
        let trap = FailureKind::Trap.code();
        for _ in 0..8 {
            assert_eq!(ask(&mut all, &event(&acme, b"1"), at(5)).0, format!("bad {trap} None"), "{abi:?}");
        }
        let suspended = FailureKind::Suspended.code();
        assert_eq!(ask(&mut all, &event(&acme, b"1"), at(5)).0, format!("bad {suspended} Some(1000)"));
        assert_eq!(
            ask(&mut all, &event(&acme, b"1"), at(1_005)).0,
            format!("bad {trap} None"),
            "one attempt"
        );
        assert_eq!(ask(&mut all, &event(&acme, b"1"), at(1_005)).0, format!("bad {suspended} Some(2000)"));
        assert_eq!(
            ask(&mut all, &event(&tenant("globex"), b"1"), at(5)).0,
            format!("bad {trap} None"),
            "each tenant by itself"
        );
    }
}

#[test]
fn who_uses_too_much_fuel_waits_and_nobody_else_does() {
    let (engine, acme, globex) = (engine(), tenant("acme"), tenant("globex"));
    let limits = JudgeLimits { tenant_fuel_per_s: 1_000_000, ..JudgeLimits::default() };
    let busy = "(loop $l (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $l (i32.lt_u (local.get $i) (i32.const 20000)))) (call $allow)";
    let mut all = Judge::new(vec![bind("busy", module(&engine, Abi::Core, busy))].into(), limits);
    let denied = format!("busy {}", FailureKind::Budget.code());
    let run = (0..100)
        .map(|_| ask(&mut all, &event(&acme, b"1"), at(0)).0)
        .take_while(|outcome| outcome == "allow")
        .count();
    assert!((5..20).contains(&run), "{run}");
    assert!(ask(&mut all, &event(&acme, b"1"), at(0)).0.starts_with(&denied));
    assert_eq!(ask(&mut all, &event(&globex, b"1"), at(0)).0, "allow");
    assert_eq!(ask(&mut all, &event(&acme, b"1"), at(500)).0, "allow", "half a second later there is some");
}

#[test]
fn who_only_looks_on_leaves_fuel_to_those_that_decide() {
    let (engine, acme) = (engine(), tenant("acme"));
    let limits = JudgeLimits { tenant_fuel_per_s: 10_000_000, ..JudgeLimits::default() };
    let mut burns = bind("burns", module(&engine, Abi::Core, "(loop $l (br $l)) unreachable"));
    burns.mode = Mode::Shadow;
    burns.limits.fuel_base = 4_000_000;
    let mut all = Judge::new(vec![burns, bind("good", module(&engine, Abi::Core, ALLOW))].into(), limits);
    for _ in 0..100 {
        let (outcome, asked) = ask(&mut all, &event(&acme, b"1"), at(0));
        assert_eq!((outcome.as_str(), asked.len()), ("allow", 2));
    }
}

#[test]
fn debts_outlive_an_exchange() {
    let (engine, acme) = (engine(), tenant("acme"));
    let limits = JudgeLimits { tenant_fuel_per_s: 100_000, ..JudgeLimits::default() };
    let burns = || Arc::from([bind("burns", module(&engine, Abi::Core, "(loop $l (br $l)) unreachable"))]);
    let mut all = Judge::new(burns(), limits);
    let fuel = format!("burns {} None", FailureKind::Fuel.code());
    assert_eq!(ask(&mut all, &event(&acme, b"1"), at(0)).0, fuel);
    all.exchange(Arc::from([]));
    all.exchange(burns());
    let budget = format!("burns {} Some(", FailureKind::Budget.code());
    assert!(ask(&mut all, &event(&acme, b"1"), at(0)).0.starts_with(&budget));
}

#[test]
fn an_exchange_keeps_who_stays_warm_and_drops_the_rest() {
    let (engine, acme) = (engine(), tenant("acme"));
    let counting = module(&engine, Abi::Core, COUNTS_CALLS);
    let mut all = judge(vec![bind("count", counting.clone())]);
    assert_eq!(ask(&mut all, &event(&acme, b"1"), at(0)).0, "count 1001 None");
    all.exchange(Arc::from([
        bind("new", module(&engine, Abi::Core, ALLOW)),
        bind("count", counting.clone()),
    ]));
    assert_eq!(ask(&mut all, &event(&acme, b"1"), at(0)).0, "count 1002 None", "the same module goes on");
    all.exchange(Arc::from([]));
    assert!(all.is_idle());
    all.exchange(Arc::from([bind("count", counting)]));
    assert_eq!(ask(&mut all, &event(&acme, b"1"), at(0)).0, "count 1001 None", "what was dropped is gone");
}

#[test]
fn instances_of_who_is_quiet_make_place() {
    let engine: Engine = engine();
    let limits = JudgeLimits { warm_max: 3, ..JudgeLimits::default() };
    let counting = module(&engine, Abi::Core, COUNTS_CALLS);
    let mut all = Judge::new(vec![bind("count", counting)].into(), limits);
    for n in 0..20 {
        let tenant = tenant(&format!("t{n}"));
        assert_eq!(ask(&mut all, &event(&tenant, b"1"), at(n)).0, "count 1001 None", "there are 8 in all");
    }
    assert_eq!(
        ask(&mut all, &event(&tenant("t19"), b"1"), at(30)).0,
        "count 1002 None",
        "the last is still warm"
    );
    assert_eq!(ask(&mut all, &event(&tenant("t0"), b"1"), at(30)).0, "count 1001 None");
}

#[test]
fn tenants_that_are_quiet_are_forgotten() {
    let engine = engine();
    let limits = JudgeLimits { warm_max: 3, ..JudgeLimits::default() };
    let mut all = Judge::new([bind("allow", module(&engine, Abi::Core, ALLOW))].into(), limits);
    for n in 0..5_000 {
        // One a tenth of a second: 600 are not quiet.
        ask(&mut all, &event(&tenant(&format!("t{n}")), b"1"), at(n * 100));
    }
    assert!(all.tenants() <= 1_700, "{}", all.tenants());
}
