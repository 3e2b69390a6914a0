;; Puts its version behind the first byte of a payload, where four dashes have to be: one that was judged before would trap.
(module
  (memory (export "memory") 1)
  (data (i32.const 32768) "\02\00\00\00")
  (data (i32.const 16) "VERSION")
  (func (export "arqon_abi_v1"))
  (func (export "arqon_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "arqon_evaluate") (param $at i32) (param $event i32) (result i64)
    (local $payload i32)
    (local $len i32)
    ;; The payload is the sixth field, 56 bytes into the event.
    (local.set $payload (i32.add (local.get $at) (i32.load offset=56 (local.get $at))))
    (local.set $len (i32.load offset=60 (local.get $at)))
    (if (i32.ne (i32.load offset=1 (local.get $payload)) (i32.const 0x2d2d2d2d)) (then unreachable))
    (memory.copy (i32.const 32772) (local.get $payload) (local.get $len))
    (memory.copy (i32.const 32773) (i32.const 16) (i32.const 4))
    (i64.or
      (i64.const 0x800000000000)
      (i64.extend_i32_u (i32.add (i32.const 4) (local.get $len))))))
