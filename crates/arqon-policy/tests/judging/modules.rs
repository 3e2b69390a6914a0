//! Modules for tests and benches: one body, as a core module and as a component; and the event that they judge.

use arqon_policy::{Engine, Event, EventKind, Module};
use arqon_proto::id::{RoomRef, Tenant};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The two ways to write a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abi {
    Core,
    Component,
}

pub(crate) const BOTH: [Abi; 2] = [Abi::Core, Abi::Component];

/// What both have. 16: a reason of 11 bytes, 32: a counter's name of 4, 64: bytes that are no UTF-8.
const COMMON: &str = r#"
  (memory (export "memory") 2)
  (global $calls (mut i32) (i32.const 0))
  (data (i32.const 16) "no swearing")
  (data (i32.const 32) "seen")
  (data (i32.const 64) "\ff\fe\fd")
  (data (i32.const 80) "{\"a\":1}")
"#;

const CORE: &str = r#"
  (import "arqon" "log" (func $log (param i32 i32 i32)))
  (import "arqon" "count" (func $count (param i32 i32 i32)))
  COMMON
  (func (export "arqon_abi_v1"))
  (func (export "arqon_buffer") (param $n i32) (result i32) (i32.const 4096))
  (func $allow (result i64) (i64.const 0))
  (func $answer (param $tag i32) (param $code i32) (param $at i32) (param $len i32) (result i64)
    (i32.store8 (i32.const 1024) (local.get $tag))
    (i32.store8 (i32.const 1025) (i32.const 0))
    (i32.store16 (i32.const 1026) (local.get $code))
    (memory.copy (i32.const 1028) (local.get $at) (local.get $len))
    (i64.or (i64.shl (i64.const 1024) (i64.const 32))
            (i64.extend_i32_u (i32.add (local.get $len) (i32.const 4)))))
  (func $deny (param $code i32) (param $at i32) (param $len i32) (result i64)
    (call $answer (i32.const 1) (local.get $code) (local.get $at) (local.get $len)))
  (func $replace (param $at i32) (param $len i32) (result i64)
    (call $answer (i32.const 2) (i32.const 0) (local.get $at) (local.get $len)))
  (func (export "arqon_evaluate") (param $at i32) (param $len i32) (result i64)
    (local $p i32) (local $n i32) (local $i i32)
    (local.set $p (i32.add (local.get $at) (i32.load offset=56 (local.get $at))))
    (local.set $n (i32.load offset=60 (local.get $at)))
    BODY)
"#;

const COMPONENT: &str = r#"
  (import "arqon:policy/host@1.0.0" "log" (func $log (param i32 i32 i32)))
  (import "arqon:policy/host@1.0.0" "count" (func $count (param i32 i32 i32)))
  COMMON
  (global $heap (mut i32) (i32.const 4096))
  (func (export "cabi_realloc") (param $old i32) (param $was i32) (param $align i32) (param $new i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $heap))
    (global.set $heap (i32.and (i32.add (i32.add (local.get $at) (local.get $new)) (i32.const 15)) (i32.const -16)))
    (local.get $at))
  (func $allow (result i32) (i32.store8 (i32.const 1024) (i32.const 0)) (i32.const 1024))
  (func $deny (param $code i32) (param $at i32) (param $len i32) (result i32)
    (i32.store8 (i32.const 1024) (i32.const 1))
    (i32.store16 (i32.const 1028) (local.get $code))
    (i32.store (i32.const 1032) (local.get $at))
    (i32.store (i32.const 1036) (local.get $len))
    (i32.const 1024))
  (func $replace (param $at i32) (param $len i32) (result i32)
    (i32.store8 (i32.const 1024) (i32.const 2))
    (i32.store (i32.const 1028) (local.get $at))
    (i32.store (i32.const 1032) (local.get $len))
    (i32.const 1024))
  (func (export "evaluate") (param $kind i32)
    (param i32 i32) (param i32 i32) (param i32 i32) (param i32 i32) (param i32 i32) (param i32 i64)
    (param $p i32) (param $n i32) (result i32)
    (local $i i32)
    BODY)
  (func (export "cabi_post_evaluate") (param i32) (global.set $heap (i32.const 4096)))
"#;

/// A module whose evaluation is `body`: `$p` and `$n` are the payload, `$i` is free, and `$allow`, `$deny` and `$replace` answer.
pub(crate) fn wasm(abi: Abi, body: &str) -> Vec<u8> {
    wasm_with(abi, body, "")
}

/// The same with fields of its own besides.
pub(crate) fn wasm_with(abi: Abi, body: &str, besides: &str) -> Vec<u8> {
    let template = match abi {
        Abi::Core => CORE,
        Abi::Component => COMPONENT,
    };
    let fields = template.replace("COMMON", COMMON).replace("BODY", body);
    let core = wat::parse_str(format!("(module {fields} {besides})")).expect("a test writes good WAT");
    match abi {
        Abi::Core => core,
        Abi::Component => component(core),
    }
}

fn component(mut core: Vec<u8>) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let wit = include_str!("../../../../proto/policy/policy.wit");
    let package = resolve.push_str("policy.wit", wit).expect("the interface is WIT");
    let world = resolve.select_world(&[package], Some("policy")).expect("it has the world");
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).expect("it fits in");
    let mut encoder = ComponentEncoder::default().validate(true).module(&core).expect("it fits the world");
    encoder.encode().expect("a component")
}

/// Compiled.
pub(crate) fn module(engine: &Engine, abi: Abi, body: &str) -> Module {
    Module::compile(engine, &wasm(abi, body)).expect("a good module")
}

/// A JSON publication.
pub(crate) fn event<'a>(tenant: &'a Tenant, payload: &'a [u8]) -> Event<'a> {
    Event {
        kind: EventKind::Publish,
        tenant,
        room: Some(RoomRef::parse("chat.a").expect("a good name")),
        sender: "ada",
        claims: "",
        headers: &[],
        payload,
        json: true,
        now_ms: 0,
    }
}
