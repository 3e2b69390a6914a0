//! Payloads that prove where they came from.
//!
//! Each says its tenant, room, publisher and number, with a MAC over them under a key of that tenant. A
//! publication that reaches the wrong tenant or room, or was mixed up inside the Shield, is caught by what
//! it carries; what the server wrote beside it is not trusted.

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// What a client says of itself in presence.
pub const META: &str = "{\"from\":\"sim\"}";

/// What a payload says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The tenant that published it.
    pub tenant: String,
    /// The room it was published to.
    pub room: String,
    /// The publisher's session, see [`publisher`].
    pub publisher: String,
    /// The publisher's number for it in this room, from 1.
    pub seq: u64,
}

#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    t: &'a str,
    r: &'a str,
    p: &'a str,
    s: u64,
    m: &'a str,
    #[serde(default)]
    x: &'a str,
}

/// The name of one publisher session: order is promised within a connection, not across a reconnect.
#[must_use]
pub fn publisher(actor: u32, conn: u32) -> String {
    format!("{actor}.{conn}")
}

/// Writes a payload: a JSON object, so that every encoding can carry it, padded by `pad` bytes.
#[must_use]
pub fn seal(seed: u64, claim: &Claim, pad: usize) -> String {
    let mac = mac(seed, claim);
    let padding = "x".repeat(pad);
    let (t, r, p) = (&*claim.tenant, &*claim.room, &*claim.publisher);
    let wire = Wire { t, r, p, s: claim.seq, m: &mac, x: &padding };
    serde_json::to_string(&wire).expect("strings and numbers are always JSON")
}

/// Reads a payload. `None` means that it was not written by [`seal`] under this seed: forged, cut or mixed.
#[must_use]
pub fn open(seed: u64, data: &[u8]) -> Option<Claim> {
    let wire: Wire<'_> = serde_json::from_slice(data).ok()?;
    let (tenant, room, publisher) = (wire.t.to_owned(), wire.r.to_owned(), wire.p.to_owned());
    let claim = Claim { tenant, room, publisher, seq: wire.s };
    (mac(seed, &claim) == wire.m).then_some(claim)
}

/// What a policy has put in the place of the last byte of the padding: a digit.
#[must_use]
pub fn mark(data: &[u8]) -> Option<char> {
    let wire: Wire<'_> = serde_json::from_slice(data).ok()?;
    wire.x.chars().last().filter(char::is_ascii_digit)
}

fn mac(seed: u64, claim: &Claim) -> String {
    let key = format!("arqon.scenario {seed} {}", claim.tenant);
    let mut mac =
        <Hmac<Sha256> as KeyInit>::new_from_slice(key.as_bytes()).expect("HMAC takes any key length");
    for part in [&claim.tenant, &claim.room, &claim.publisher] {
        mac.update(&(part.len() as u64).to_le_bytes());
        mac.update(part.as_bytes());
    }
    mac.update(&claim.seq.to_le_bytes());
    mac.finalize().into_bytes()[..12].iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sealed_opens() {
        let claim = Claim { tenant: "acme".into(), room: "lobby".into(), publisher: publisher(3, 1), seq: 9 };
        let text = seal(1, &claim, 40);
        assert_eq!(open(1, text.as_bytes()), Some(claim));
        assert_eq!(open(2, text.as_bytes()), None, "another run's payload");
        for (from, to) in [("acme", "evil"), ("lobby", "hobby"), ("3.1", "3.2"), ("\"s\":9", "\"s\":8")] {
            assert!(text.contains(from));
            assert_eq!(open(1, text.replace(from, to).as_bytes()), None, "{to}");
        }
        let marked = text.replace("x\"}", "7\"}");
        assert_eq!((mark(text.as_bytes()), mark(marked.as_bytes())), (None, Some('7')));
        assert!(open(1, marked.as_bytes()).is_some(), "a mark forges nothing");
        assert_eq!(open(1, b"{}"), None);
        assert_eq!(open(1, &text.as_bytes()[..text.len() - 1]), None);
    }
}
