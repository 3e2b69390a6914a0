//! Modules that do what they should not: each is refused, or denies with the failure it is.

use arqon_policy::{
    BadAnswer, Engine, Failure, FailureKind, Isolation, Limits, Module, Policy, Refused, Verdict,
};

use super::modules::{Abi, BOTH, wasm, wasm_with};
use super::{engine, event, policy, tenant};

const LOOP: &str = "(loop $l (br $l)) unreachable";

fn failure(abi: Abi, body: &str) -> Failure {
    let acme = tenant("acme");
    let mut policy = policy(abi, body);
    let failure = policy.judge(&event(&acme, b"1")).verdict.expect_err(body);
    assert!(!policy.is_warm(), "{abi:?}: an instance that failed is not used again: {body}");
    failure
}

#[test]
fn each_way_to_fail_is_told() {
    let cases = [
        (LOOP, FailureKind::Fuel),
        (
            "(memory.fill (i32.const 0) (i32.const 0) (i32.const 131072)) (loop $l (memory.fill (i32.const 0) (i32.const 0) (i32.const 131072)) (br $l)) unreachable",
            FailureKind::Fuel,
        ),
        ("(drop (memory.grow (i32.const 100))) (call $allow)", FailureKind::Memory),
        ("unreachable", FailureKind::Trap),
        ("(drop (i32.div_u (i32.const 1) (i32.const 0))) (call $allow)", FailureKind::Trap),
        ("(drop (i32.load (i32.const -4))) (call $allow)", FailureKind::Trap),
        ("(drop (i32.trunc_f32_s (f32.const nan))) (call $allow)", FailureKind::Trap),
        ("(call $deny (i32.const 999) (i32.const 16) (i32.const 2))", FailureKind::BadAnswer),
        ("(call $deny (i32.const 10000) (i32.const 16) (i32.const 2))", FailureKind::BadAnswer),
        ("(call $deny (i32.const 1000) (i32.const 64) (i32.const 3))", FailureKind::BadAnswer),
        ("(call $deny (i32.const 1000) (i32.const 16) (i32.const 257))", FailureKind::BadAnswer),
        ("(call $replace (i32.const 16) (i32.const 11))", FailureKind::BadAnswer),
        ("(call $replace (i32.const 64) (i32.const 3))", FailureKind::BadAnswer),
        ("(call $log (i32.const 9) (i32.const 16) (i32.const 2)) (call $allow)", FailureKind::BadAnswer),
        ("(call $log (i32.const 1) (i32.const 64) (i32.const 3)) (call $allow)", FailureKind::BadAnswer),
        ("(call $log (i32.const 1) (i32.const -1) (i32.const 2)) (call $allow)", FailureKind::BadAnswer),
        (
            "(call $count (i32.const 131070) (i32.const 4) (i32.const 1)) (call $allow)",
            FailureKind::BadAnswer,
        ),
    ];
    for abi in BOTH {
        for (body, expected) in cases {
            let failure = failure(abi, body);
            assert_eq!(failure.kind(), expected, "{abi:?}: {body}: {failure}");
        }
    }
}

#[test]
fn deep_recursion_ends_in_a_trap() {
    let deep = "(func $deep (param i32) (result i32)
      (i32.add (call $deep (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))";
    for abi in BOTH {
        let bytes = wasm_with(abi, "(drop (call $deep (i32.const 0))) (call $allow)", deep);
        let module = Module::compile(&engine(), &bytes).expect("a good module");
        let limits = Limits { fuel_base: 5_000_000, ..Limits::default() };
        let mut policy = Policy::new(module, tenant("acme"), limits, Isolation::Tenant);
        let failure = policy.judge(&event(&tenant("acme"), b"1")).verdict.expect_err("it cannot end well");
        assert_eq!(failure, Failure::Trap("call stack exhausted"), "{abi:?}");
    }
}

#[test]
fn a_table_that_grows_is_stopped() {
    let table = "(table $t 1 funcref)";
    let body = "(drop (table.grow $t (ref.null func) (i32.const 5000))) (call $allow)";
    for abi in BOTH {
        let module = Module::compile(&engine(), &wasm_with(abi, body, table)).expect("a good module");
        let mut policy = Policy::new(module, tenant("acme"), Limits::default(), Isolation::Tenant);
        let failure = policy.judge(&event(&tenant("acme"), b"1")).verdict.expect_err("it wants too much");
        assert!(matches!(failure.kind(), FailureKind::Memory | FailureKind::Fuel), "{abi:?}: {failure}");
    }
}

/// Numbers that a core module returns as its answer.
#[test]
fn wild_answers_of_core_modules() {
    let packed = |at: u32, len: u32| format!("(i64.const {})", (u64::from(at) << 32 | u64::from(len)) as i64);
    let cases = [
        (packed(0xffff_ffff, 16), BadAnswer::AnswerOutside),
        (packed(0xffff_fff0, 0xffff_fff0), BadAnswer::AnswerOutside),
        (packed(131_072, 4), BadAnswer::AnswerOutside),
        (packed(131_070, 4), BadAnswer::AnswerOutside),
        (packed(16, 3), BadAnswer::Malformed),
        (packed(0, 4), BadAnswer::UnknownTag(0)),
        (packed(16, 11), BadAnswer::Malformed),
        (
            "(i32.store (i32.const 512) (i32.const 7)) (i64.const 0x0000020000000004)".to_owned(),
            BadAnswer::UnknownTag(7),
        ),
        (
            "(i32.store (i32.const 512) (i32.const 0x10002)) (i64.const 0x0000020000000004)".to_owned(),
            BadAnswer::Malformed,
        ),
    ];
    for (body, expected) in cases {
        assert_eq!(failure(Abi::Core, &body), Failure::BadAnswer(expected), "{body}");
    }
}

#[test]
fn wild_buffers_of_core_modules() {
    let acme = tenant("acme");
    let judge = |buffer: &str| {
        let fields = String::from_utf8_lossy(include_bytes!("minimal.wat")).replace("BUFFER", buffer);
        let bytes = wat::parse_str(fields).expect("good WAT");
        let module = Module::compile(&engine(), &bytes).expect("a good module");
        let mut policy = Policy::new(module, acme.clone(), Limits::default(), Isolation::Tenant);
        policy.judge(&event(&acme, b"[1]")).verdict.map(|verdict| verdict == Verdict::Allow)
    };
    assert_eq!(judge("(i32.const 64)"), Ok(true));
    assert_eq!(judge("(i32.const 0)"), Err(BadAnswer::NoBuffer.into()));
    assert_eq!(judge("(i32.const -1)"), Err(BadAnswer::BufferOutside.into()));
    assert_eq!(judge("(i32.const 65530)"), Err(BadAnswer::BufferOutside.into()));
    assert_eq!(judge("(loop $l (br $l)) unreachable"), Err(Failure::Fuel { limit: 200_000 + 3 * 256 }));
}

/// What a component returns that its type does not allow.
#[test]
fn wild_answers_of_components() {
    let cases = [
        "(i32.const -1)",
        "(i32.const 3)",
        "(i32.const 131071)",
        "(i32.store8 (i32.const 1024) (i32.const 9)) (i32.const 1024)",
        "(call $replace (i32.const -8) (i32.const 16))",
        "(call $replace (i32.const 16) (i32.const -1))",
        "(call $deny (i32.const 1000) (i32.const 131070) (i32.const 16))",
    ];
    for body in cases {
        assert_eq!(failure(Abi::Component, body).kind(), FailureKind::BadAnswer, "{body}");
    }
}

#[test]
fn a_large_replacement_is_refused_before_it_is_copied() {
    let acme = tenant("acme");
    for abi in BOTH {
        let bytes = wasm(abi, "(call $replace (i32.const 0) (i32.const 100000))");
        let module = Module::compile(&engine(), &bytes).expect("a good module");
        let mut policy = Policy::new(module, acme.clone(), Limits::default(), Isolation::Tenant);
        let failure = policy.judge(&event(&acme, b"1")).verdict.expect_err("it is too large");
        assert_eq!(failure.kind(), FailureKind::BadAnswer, "{abi:?}: {failure}");
    }
}

#[test]
fn floods_of_lines_are_bounded_and_paid_for() {
    let acme = tenant("acme");
    let body = "(loop $l (call $log (i32.const 1) (i32.const 16) (i32.const 11))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $l (i32.lt_u (local.get $i) (i32.const 100)))) (call $allow)";
    for abi in BOTH {
        let mut policy = policy(abi, body);
        let judged = policy.judge(&event(&acme, b"1"));
        assert_eq!((judged.effects.logs().count(), judged.effects.dropped()), (16, 84), "{abi:?}");
    }
    // Long lines cost what copying them takes, whoever calls.
    let long = "(loop $l (call $log (i32.const 1) (i32.const 4096) (i32.const 60000))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $l (i32.lt_u (local.get $i) (i32.const 4)))) (call $allow)";
    for abi in BOTH {
        assert_eq!(failure(abi, long).kind(), FailureKind::Fuel, "{abi:?}");
    }
    let forever = "(loop $l (call $log (i32.const 1) (i32.const 16) (i32.const 11)) (br $l)) unreachable";
    for abi in BOTH {
        assert_eq!(failure(abi, forever).kind(), FailureKind::Fuel, "{abi:?}");
    }
}

fn refused(engine: &Engine, bytes: &[u8]) -> Refused {
    Module::compile(engine, bytes).expect_err("it is refused")
}

#[test]
fn modules_that_do_not_fit_are_refused_with_what_to_do() {
    let engine = engine();
    let wat = |text: &str| wat::parse_str(text).expect("good WAT");
    let minimal = include_str!("minimal.wat").replace("BUFFER", "(i32.const 64)");
    let without = |part: &str, instead: &str| {
        assert!(minimal.contains(part), "{part}");
        refused(&engine, &wat(&minimal.replace(part, instead)))
    };
    let version = "(func (export \"arqon_abi_v1\"))";
    assert_eq!(without(version, ""), Refused::NoVersion);
    let found = "arqon_abi_v2".into();
    assert_eq!(without("arqon_abi_v1", "arqon_abi_v2"), Refused::WrongVersion { found });
    assert!(matches!(
        without("(export \"arqon_buffer\")", ""),
        Refused::MissingExport { name: "arqon_buffer", .. }
    ));
    assert!(matches!(without("(export \"memory\")", ""), Refused::MissingExport { name: "memory", .. }));
    let other =
        without("(export \"arqon_evaluate\") (param i32 i32)", "(export \"arqon_evaluate\") (param i32)");
    assert!(matches!(other, Refused::WrongExport { name: "arqon_evaluate", .. }), "{other}");
    let import = |what: &str| format!("(import {what})\n(memory");
    let wasi = without(
        "(memory",
        &import("\"wasi_snapshot_preview1\" \"fd_write\" (func (param i32) (result i32))"),
    );
    assert!(matches!(wasi, Refused::UnknownImport { .. }), "{wasi}");
    let wrong = without("(memory", &import("\"arqon\" \"log\" (func (param i32))"));
    assert!(matches!(wrong, Refused::WrongImport { .. }), "{wrong}");
    let large = without("(memory (export \"memory\") 1)", "(memory (export \"memory\") 100)");
    assert!(matches!(large, Refused::NeedsTooMuch(_)), "{large}");
    let two = without("(memory (export \"memory\") 1)", "(memory (export \"memory\") 1) (memory 1)");
    assert!(matches!(two, Refused::Invalid(_)), "{two}");
    assert_eq!(refused(&engine, b"#!/bin/sh"), Refused::NotWasm);
    assert_eq!(refused(&engine, b""), Refused::NotWasm);
    assert!(matches!(refused(&engine, &vec![0; 5 << 20]), Refused::TooLarge { .. }));
    assert!(matches!(refused(&engine, &wat("(component)")), Refused::OtherWorld(_)));
}

#[test]
fn what_does_not_start_is_known_before_it_is_asked() {
    let engine = engine();
    for abi in BOTH {
        let start = "(func $go (loop $l (br $l))) (start $go)";
        let module = Module::compile(&engine, &wasm_with(abi, "(call $allow)", start)).expect("it compiles");
        let mut policy = Policy::new(module, tenant("acme"), Limits::default(), Isolation::Tenant);
        let refused = policy.warm_up().expect_err("it never starts");
        assert_eq!(refused, Refused::Start(Failure::Fuel { limit: 20_000_000 }), "{abi:?}");
    }
}

#[test]
fn one_that_traps_every_second_time_harms_nobody_else() {
    let acme = tenant("acme");
    let body = "(if (i32.eq (i32.load8_u (local.get $p)) (i32.const 0x32)) (then unreachable)) (call $allow)";
    for abi in BOTH {
        let mut policy = policy(abi, body);
        for _ in 0..10 {
            assert_eq!(policy.judge(&event(&acme, b"1")).verdict, Ok(Verdict::Allow));
            assert!(policy.judge(&event(&acme, b"2")).verdict.is_err(), "{abi:?}");
        }
    }
}

#[test]
fn when_all_instances_are_in_use_one_more_is_denied_for_a_while() {
    let engine = engine();
    let acme = tenant("acme");
    for abi in BOTH {
        let module = super::module(&engine, abi, "(call $allow)");
        let mut all: Vec<Policy> = (0..9)
            .map(|_| Policy::new(module.clone(), acme.clone(), Limits::default(), Isolation::Tenant))
            .collect();
        let last = all.pop().map(|mut last| {
            all.iter_mut().for_each(|one| assert!(one.judge(&event(&acme, b"1")).verdict.is_ok()));
            last.judge(&event(&acme, b"1")).verdict.map(|_| ())
        });
        assert_eq!(last, Some(Err(Failure::Overload)), "{abi:?}");
    }
}

#[test]
fn a_deadline_is_for_who_ticks() {
    let engine = engine();
    let acme = tenant("acme");
    for abi in BOTH {
        let module = super::module(&engine, abi, LOOP);
        let limits = Limits { fuel_base: 5_000_000_000, fuel_max: 5_000_000_000, ..Limits::default() };
        let mut policy = Policy::new(module, acme.clone(), limits, Isolation::Tenant);
        let failure = std::thread::scope(|scope| {
            let (done, ended) = std::sync::mpsc::channel::<()>();
            let ticker = engine.clone();
            scope.spawn(move || {
                while ended.recv_timeout(std::time::Duration::from_millis(1))
                    == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
                {
                    ticker.tick();
                }
            });
            let failure = policy.judge(&event(&acme, b"1")).verdict.expect_err("it never ends");
            drop(done);
            failure
        });
        assert_eq!(failure, Failure::Deadline, "{abi:?}");
    }
}
