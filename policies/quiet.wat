;; Denies what senders of the cohort `loud` publish, with 1001: their names begin with `loud`. Every seventh call it traps, which denies, too.
(module
  (memory (export "memory") 4)
  (global $calls (mut i32) (i32.const 0))
  (data (i32.const 16) "\01\00\e9\03quiet, please")
  (func (export "arqon_abi_v1"))
  (func (export "arqon_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "arqon_evaluate") (param $at i32) (param $len i32) (result i64)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (if (i32.eqz (i32.rem_u (global.get $calls) (i32.const 7))) (then unreachable))
    ;; The sender is the third field, 32 bytes into the event.
    (if (i32.eq (i32.load (i32.add (local.get $at) (i32.load offset=32 (local.get $at)))) (i32.const 0x64756f6c))
      (then (return (i64.const 0x1000000011))))
    (i64.const 0)))
