//! The core ABI of arqon:policy@1, without a heap. It calls `judge` of the crate.
#![allow(dead_code)]

use core::cell::UnsafeCell;

/// What a client is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Connect,
    Subscribe,
    Publish,
    Presence,
}

/// What is to be judged.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    pub kind: Kind,
    /// Whether the payload is one JSON value.
    pub json: bool,
    /// Milliseconds since the Unix epoch.
    pub now_ms: u64,
    pub tenant: &'a str,
    /// Empty for a connect.
    pub room: &'a str,
    pub sender: &'a str,
    /// One JSON object; empty unless the binding asks for it.
    pub claims: &'a str,
    pub payload: &'a [u8],
}

/// What the policy says.
#[derive(Clone, Copy, Debug)]
pub enum Verdict<'a> {
    Allow,
    /// 1000 to 9999 are yours; the reason has 256 bytes at most.
    Deny { code: u16, reason: &'a str },
    /// Goes on with another payload.
    Replace(&'a [u8]),
}

/// Larger than any event: message_bytes_max is 64 KiB unless a Shield says otherwise.
const BUFFER_BYTES: usize = 192 * 1024;

#[repr(align(16))]
struct Buffer(UnsafeCell<[u8; BUFFER_BYTES]>);

// SAFETY: an instance has one thread.
unsafe impl Sync for Buffer {}

static INPUT: Buffer = Buffer(UnsafeCell::new([0; BUFFER_BYTES]));
static OUTPUT: Buffer = Buffer(UnsafeCell::new([0; BUFFER_BYTES]));

#[no_mangle]
pub extern "C" fn arqon_abi_v1() {}

#[no_mangle]
pub extern "C" fn arqon_buffer(len: u32) -> *mut u8 {
    if len as usize <= BUFFER_BYTES {
        INPUT.0.get().cast()
    } else {
        core::ptr::null_mut()
    }
}

/// # Safety
/// The Shield has written an event of `len` bytes there.
#[no_mangle]
pub unsafe extern "C" fn arqon_evaluate(at: *const u8, len: u32) -> u64 {
    // SAFETY: as above, and nobody writes there before the answer is given.
    let bytes = unsafe { core::slice::from_raw_parts(at, len as usize) };
    match crate::judge(&read(bytes)) {
        Verdict::Allow => 0,
        Verdict::Deny { code, reason } => answer(1, code, reason.as_bytes()),
        Verdict::Replace(payload) => answer(2, 0, payload),
    }
}

fn word(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize
}

fn field(bytes: &[u8], number: usize) -> &[u8] {
    let at = word(bytes, 16 + 8 * number);
    &bytes[at..at + word(bytes, 20 + 8 * number)]
}

fn text(bytes: &[u8], number: usize) -> &str {
    // SAFETY: the Shield writes UTF-8.
    unsafe { core::str::from_utf8_unchecked(field(bytes, number)) }
}

fn read(bytes: &[u8]) -> Event<'_> {
    Event {
        kind: match bytes[2] {
            0 => Kind::Connect,
            1 => Kind::Subscribe,
            2 => Kind::Publish,
            _ => Kind::Presence,
        },
        json: bytes[3] != 0,
        now_ms: (word(bytes, 12) as u64) << 32 | word(bytes, 8) as u64,
        tenant: text(bytes, 0),
        room: text(bytes, 1),
        sender: text(bytes, 2),
        claims: text(bytes, 3),
        payload: field(bytes, 5),
    }
}

fn answer(tag: u8, code: u16, body: &[u8]) -> u64 {
    // SAFETY: an instance has one thread, and the answer before has been read.
    let output = unsafe { &mut *OUTPUT.0.get() };
    let code = code.to_le_bytes();
    output[..4].copy_from_slice(&[tag, 0, code[0], code[1]]);
    output[4..4 + body.len()].copy_from_slice(body);
    (output.as_ptr() as u64) << 32 | (4 + body.len()) as u64
}

#[cfg(target_arch = "wasm32")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
