//! What a module may do, and what becomes of it: everything as a core module and as a component.

mod allocations;
mod hostile;
mod modules;
mod order;

use arqon_policy::{Engine, EngineConfig, Isolation, Judged, Level, Limits, Policy, Verdict};
use arqon_proto::id::Tenant;
use modules::{Abi, BOTH, event, module};

fn tenant(name: &str) -> Tenant {
    Tenant::parse(name).expect("a good name")
}

fn engine() -> Engine {
    let config = EngineConfig { instances_max: 8, ..EngineConfig::default() };
    Engine::new(config).expect("enough address space")
}

fn policy(abi: Abi, body: &str) -> Policy {
    Policy::new(module(&engine(), abi, body), tenant("acme"), Limits::default(), Isolation::Tenant)
}

#[test]
fn the_three_verdicts() {
    let acme = tenant("acme");
    for abi in BOTH {
        let judge = |body: &str, payload: &[u8], expected: Verdict<'_>| {
            let mut policy = policy(abi, body);
            let Judged { verdict, fuel, .. } = policy.judge(&event(&acme, payload));
            assert_eq!(verdict, Ok(expected), "{abi:?}: {body}");
            assert!(fuel > 0, "{abi:?}");
        };
        judge("(call $allow)", b"1", Verdict::Allow);
        let deny = "(call $deny (i32.const 4242) (i32.const 16) (i32.const 11))";
        judge(deny, b"1", Verdict::Deny { code: 4242, reason: "no swearing" });
        judge("(call $replace (local.get $p) (local.get $n))", b"[2,3]", Verdict::Replace(b"[2,3]"));
        judge("(call $replace (i32.const 80) (i32.const 7))", b"1", Verdict::Replace(b"{\"a\":1}"));
    }
}

const COUNTS_CALLS: &str = "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
  (call $deny (i32.add (i32.const 1000) (global.get $calls)) (i32.const 16) (i32.const 11))";

fn code(policy: &mut Policy, tenant: &Tenant) -> u16 {
    match policy.judge(&event(tenant, b"1")).verdict {
        Ok(Verdict::Deny { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_warm_instance_keeps_state_within_its_tenant_and_never_across() {
    let (acme, globex) = (tenant("acme"), tenant("globex"));
    for abi in BOTH {
        let module = module(&engine(), abi, COUNTS_CALLS);
        let limits = Limits { calls_max: 3, ..Limits::default() };
        let mut one = Policy::new(module.clone(), acme.clone(), limits, Isolation::Tenant);
        let mut other = Policy::new(module, globex.clone(), limits, Isolation::Tenant);
        assert_eq!([code(&mut one, &acme), code(&mut one, &acme)], [1001, 1002]);
        assert_eq!(code(&mut other, &globex), 1001, "{abi:?}: nothing leaks to another tenant");
        assert_eq!([code(&mut one, &acme), code(&mut one, &acme)], [1003, 1001], "it is replaced in time");
    }
}

#[test]
fn with_isolation_of_messages_nothing_is_kept() {
    let acme = tenant("acme");
    for abi in BOTH {
        let module = module(&engine(), abi, COUNTS_CALLS);
        let mut policy = Policy::new(module, acme.clone(), Limits::default(), Isolation::Message);
        assert_eq!([code(&mut policy, &acme), code(&mut policy, &acme)], [1001, 1001]);
        assert!(!policy.is_warm());
    }
}

#[test]
fn the_event_of_another_tenant_is_denied_and_not_shown() {
    for abi in BOTH {
        let mut policy = policy(abi, "(call $allow)");
        let globex = tenant("globex");
        let judged = policy.judge(&event(&globex, b"1"));
        assert_eq!(
            (judged.verdict.expect_err("denied").kind().name(), judged.fuel),
            ("policy_wrong_tenant", 0)
        );
    }
}

#[test]
fn lines_and_counters_come_out() {
    let acme = tenant("acme");
    let body = "(call $log (i32.const 2) (i32.const 16) (i32.const 11))
      (call $count (i32.const 32) (i32.const 4) (i32.const 7)) (call $allow)";
    for abi in BOTH {
        let mut policy = policy(abi, body);
        let Judged { verdict, effects, .. } = policy.judge(&event(&acme, b"1"));
        assert_eq!(verdict, Ok(Verdict::Allow));
        assert!(effects.logs().eq([(Level::Warn, "no swearing")]), "{abi:?}");
        assert!(effects.counters().eq([("seen", 7)]), "{abi:?}");
    }
}

#[test]
fn the_same_events_use_the_same_fuel_and_meet_the_same_verdicts() {
    let acme = tenant("acme");
    let body = "(local.set $i (i32.const 0))
      (loop $l
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $i) (local.get $n))))
      (if (i32.gt_u (local.get $n) (i32.const 3)) (then (return (call $replace (local.get $p) (local.get $n)))))
      (call $allow)";
    for abi in BOTH {
        let run = || {
            let mut policy = policy(abi, body);
            let payloads: [&[u8]; 4] = [b"1", b"[1,2]", b"\"some text\"", b"1"];
            payloads.map(|payload| {
                let judged = policy.judge(&event(&acme, payload));
                (judged.fuel, judged.verdict == Ok(Verdict::Allow))
            })
        };
        let (first, second) = (run(), run());
        assert_eq!(first, second, "{abi:?}");
        assert!(first[2].0 > first[1].0, "more to do takes more");
    }
}
