//! Messages are short, and only the editor writes to the room news.
#![cfg_attr(target_arch = "wasm32", no_std)]

mod arqon;

use arqon::{Event, Verdict};

const BYTES_MAX: usize = 64;

fn judge(event: &Event<'_>) -> Verdict<'static> {
    if event.payload.len() > BYTES_MAX {
        return Verdict::Deny { code: 1001, reason: "a message has 64 bytes at most here" };
    }
    if event.room == "news" && event.sender != "editor" {
        return Verdict::Deny { code: 1002, reason: "only the editor writes here" };
    }
    Verdict::Allow
}
