// What a policy is asked, and what it may say.

export enum Kind {
  Connect,
  Subscribe,
  Publish,
  Presence,
}

// An answer as the core ABI has it: 0, or address * 2^32 + length.
export type Verdict = i64;

// Larger than any event: message_bytes_max is 64 KiB unless a Shield says otherwise.
export const BUFFER_BYTES: i32 = 192 * 1024;
const OUTPUT: usize = memory.data(196608, 16);

// Valid during one call: it reads what the Shield has written.
export class Event {
  constructor(private at: usize) {}

  get kind(): Kind {
    return <Kind>load<u8>(this.at, 2);
  }
  // Whether the payload is one JSON value.
  get json(): bool {
    return load<u8>(this.at, 3) != 0;
  }
  // Milliseconds since the Unix epoch.
  get nowMs(): u64 {
    return load<u64>(this.at, 8);
  }
  get tenant(): string {
    return this.text(0);
  }
  // Empty for a connect.
  get room(): string {
    return this.text(1);
  }
  get sender(): string {
    return this.text(2);
  }
  // One JSON object; empty unless the binding asks for it.
  get claims(): string {
    return this.text(3);
  }
  get payloadLength(): i32 {
    return this.length(5);
  }
  // The payload as text; only JSON is sure to be text.
  get payloadText(): string {
    return this.text(5);
  }
  // One byte of the payload.
  payloadByte(index: i32): u8 {
    if (index < 0 || index >= this.payloadLength) throw new RangeError("payload");
    return load<u8>(this.address(5) + <usize>index);
  }

  private address(field: i32): usize {
    return this.at + load<u32>(this.at + 16 + 8 * field);
  }
  private length(field: i32): i32 {
    return load<i32>(this.at + 20 + 8 * field);
  }
  private text(field: i32): string {
    return String.UTF8.decodeUnsafe(this.address(field), this.length(field));
  }
}

export function allow(): Verdict {
  return 0;
}

// Refuses; 1000 to 9999 are yours. The reason has 256 bytes at most.
export function deny(code: u16, reason: string): Verdict {
  return answer(1, code, reason);
}

// Goes on with this payload.
export function replace(payload: string): Verdict {
  return answer(2, 0, payload);
}

function answer(tag: u8, code: u16, body: string): Verdict {
  const length = String.UTF8.byteLength(body);
  if (length > BUFFER_BYTES - 4) throw new RangeError("answer");
  store<u8>(OUTPUT, tag);
  store<u8>(OUTPUT, 0, 1);
  store<u16>(OUTPUT, code, 2);
  String.UTF8.encodeUnsafe(changetype<usize>(body), body.length, OUTPUT + 4);
  return (<i64>OUTPUT << 32) | (length + 4);
}
