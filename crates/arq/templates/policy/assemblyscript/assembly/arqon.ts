// The core ABI of arqon:policy@1. The policy itself is in policy.ts.
import { BUFFER_BYTES, Event } from "./event";
import { judge } from "./policy";

const INPUT: usize = memory.data(196608, 16);

export function arqon_abi_v1(): void {}

export function arqon_buffer(len: i32): usize {
  return <u32>len <= <u32>BUFFER_BYTES ? INPUT : 0;
}

export function arqon_evaluate(at: usize, len: i32): i64 {
  // What the last call left; between calls nothing stands on the stack.
  __collect();
  return judge(new Event(at));
}
