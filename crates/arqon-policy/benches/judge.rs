//! What a policy costs: `cargo bench -p arqon-policy`. Needs clang and lld for the example in C.

use std::hint::black_box;
use std::path::Path;
use std::process::Command;

use arqon_policy::{Engine, EngineConfig, Event, Isolation, Limits, Module, Policy, Verdict};
use arqon_proto::id::Tenant;
use criterion::{Criterion, criterion_group, criterion_main};

#[path = "../tests/judging/modules.rs"]
mod modules;

use modules::{BOTH, event, module};

/// The example, built by clang.
fn example(engine: &Engine, name: &str) -> Module {
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("policy.wasm");
    let built = Command::new("clang")
        .args([
            "--target=wasm32",
            "-O2",
            "-nostdlib",
            "-ffreestanding",
            "-Wl,--no-entry",
            "-Wl,-z,stack-size=16384",
        ])
        .arg("-I")
        .arg(&policies)
        .arg("-o")
        .arg(&out)
        .arg(policies.join(name).join("policy.c"))
        .status()
        .expect("clang and lld are installed");
    assert!(built.success(), "clang builds {name}");
    Module::compile(engine, &std::fs::read(out).expect("what clang wrote")).expect("a good module")
}

fn benches(c: &mut Criterion) {
    let engine = Engine::new(EngineConfig::default()).expect("enough address space");
    let acme = Tenant::parse("acme").expect("a good name");
    let large = vec![b'x'; 4096];
    for abi in BOTH {
        let empty = module(&engine, abi, "(call $allow)");
        for (what, payload) in [("no payload", &large[..0]), ("4 KiB", &large[..])] {
            for isolation in [Isolation::Tenant, Isolation::Message] {
                let mut policy = Policy::new(empty.clone(), acme.clone(), Limits::default(), isolation);
                let name = format!("empty, {abi:?}, {what}, isolation {isolation:?}");
                let event = Event { json: false, ..event(&acme, payload) };
                c.bench_function(&name, |b| b.iter(|| black_box(policy.judge(&event).verdict.is_ok())));
            }
        }
    }
    let words = example(&engine, "bad_words");
    let mut policy = Policy::new(words, acme.clone(), Limits::default(), Isolation::Tenant);
    let event = Event { json: false, ..event(&acme, &large) };
    assert_eq!(policy.judge(&event).verdict, Ok(Verdict::Allow), "no such word is in it");
    c.bench_function("ten words in 4 KiB, C", |b| b.iter(|| black_box(policy.judge(&event).verdict.is_ok())));
}

criterion_group!(all, benches);
criterion_main!(all);
