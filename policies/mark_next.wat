;; Puts a 2 in the place of the last byte of the padding of what the simulator publishes; whatever is shorter than such a payload is denied.
(module
  (memory (export "memory") 4)
  (data (i32.const 65536) "\02\00\00\00")
  (data (i32.const 16) "\01\00\e9\03too short")
  (func (export "arqon_abi_v1"))
  (func (export "arqon_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "arqon_evaluate") (param $at i32) (param $event i32) (result i64)
    ;; The payload is the sixth field, 56 bytes into the event.
    (local $len i32)
    (local.set $len (i32.load offset=60 (local.get $at)))
    (if (i32.or (i32.lt_u (local.get $len) (i32.const 3)) (i32.gt_u (local.get $len) (i32.const 60000)))
      (then (return (i64.const 0x100000000d))))
    (memory.copy
      (i32.const 65540) (i32.add (local.get $at) (i32.load offset=56 (local.get $at))) (local.get $len))
    ;; Before the last quote and brace.
    (i32.store8 (i32.add (i32.const 65537) (local.get $len)) (i32.const 0x32))
    (i64.or
      (i64.const 0x1000000000000)
      (i64.extend_i32_u (i32.add (local.get $len) (i32.const 4))))))
