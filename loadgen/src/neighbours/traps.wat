;; Denies with 1001, and traps on every second call: never twice in a row, so that it is never left out.
(module
  (memory (export "memory") 1)
  (global $second (mut i32) (i32.const 0))
  (data (i32.const 16) "\01\00\e9\03no")
  (func (export "arqon_abi_v1"))
  (func (export "arqon_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "arqon_evaluate") (param i32 i32) (result i64)
    (if (global.get $second) (then unreachable))
    (global.set $second (i32.const 1))
    (i64.const 0x1000000006)))
