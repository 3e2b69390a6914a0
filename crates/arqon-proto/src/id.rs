//! Names, parsed once at the edge and typed ever after.
//!
//! A name that does not fit is refused, never normalised: two different names never meet on one subject.
//! Only [`Subject::new`] builds a spine subject, and only from a [`Tenant`] and a [`Room`]: that is what keeps
//! tenants apart on a Shield that serves them all.

use std::fmt;
use std::sync::Arc;

/// Bytes of the longest tenant name.
pub const TENANT_LEN_MAX: usize = 64;
/// Bytes of the longest room name.
pub const ROOM_LEN_MAX: usize = 255;
/// Tokens of the longest room name (`a.b.c` has three).
pub const ROOM_TOKENS_MAX: usize = 8;
/// Bytes of the longest token of a room name.
pub const ROOM_TOKEN_LEN_MAX: usize = 64;
/// Bytes of the longest user name (the `sub` claim).
pub const USER_LEN_MAX: usize = 128;
/// Bytes of the longest `msg_id`.
pub const MSG_ID_LEN_MAX: usize = 64;

/// Why a name was refused. Carries no part of the name: it may be hostile or another tenant's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name is empty, or a token of it is.
    #[error("{0} is empty or has an empty token")]
    Empty(&'static str),
    /// The name, or a token of it, is too long.
    #[error("{what} is longer than {max} bytes")]
    TooLong {
        /// Which name.
        what: &'static str,
        /// The limit it broke.
        max: usize,
    },
    /// The room has more than [`ROOM_TOKENS_MAX`] tokens.
    #[error("room has more than {ROOM_TOKENS_MAX} tokens")]
    TooManyTokens,
    /// A character outside the alphabet of this name.
    #[error("{0} has a character that is not allowed")]
    BadCharacter(&'static str),
}

fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b == b'-'
}

/// A tenant: `[A-Za-z0-9][A-Za-z0-9_-]{0,63}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenant(Arc<str>);

impl Tenant {
    /// Parses a tenant name.
    ///
    /// # Errors
    /// Refuses what does not match the grammar; a leading `_` or `$` would reach control subjects.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        let Some(&first) = name.as_bytes().first() else { return Err(NameError::Empty("tenant")) };
        if name.len() > TENANT_LEN_MAX {
            return Err(NameError::TooLong { what: "tenant", max: TENANT_LEN_MAX });
        }
        if !first.is_ascii_alphanumeric() || !name.bytes().all(is_token_byte) {
            return Err(NameError::BadCharacter("tenant"));
        }
        Ok(Self(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A borrowed room name that has passed the grammar. Copying it costs nothing; see [`Room`] for the owned form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomRef<'a>(&'a str);

impl<'a> RoomRef<'a> {
    /// Checks a room name: 1 to 8 tokens of `[A-Za-z0-9_-]{1,64}` joined by `.`, 255 bytes at most.
    ///
    /// # Errors
    /// Refuses everything else, wildcards and leading or doubled dots included.
    pub fn parse(name: &'a str) -> Result<Self, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty("room"));
        }
        if name.len() > ROOM_LEN_MAX {
            return Err(NameError::TooLong { what: "room", max: ROOM_LEN_MAX });
        }
        let mut tokens = 0;
        for token in name.split('.') {
            tokens += 1;
            if tokens > ROOM_TOKENS_MAX {
                return Err(NameError::TooManyTokens);
            }
            if token.is_empty() {
                return Err(NameError::Empty("room"));
            }
            if token.len() > ROOM_TOKEN_LEN_MAX {
                return Err(NameError::TooLong { what: "room token", max: ROOM_TOKEN_LEN_MAX });
            }
            if !token.bytes().all(is_token_byte) {
                return Err(NameError::BadCharacter("room"));
            }
        }
        Ok(Self(name))
    }

    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

/// An owned room name, cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Room(Arc<str>);

impl Room {
    /// Parses a room name, see [`RoomRef::parse`].
    ///
    /// # Errors
    /// As [`RoomRef::parse`].
    pub fn parse(name: &str) -> Result<Self, NameError> {
        RoomRef::parse(name).map(Self::from)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The borrowed form.
    #[must_use]
    pub fn as_ref(&self) -> RoomRef<'_> {
        RoomRef(&self.0)
    }
}

impl From<RoomRef<'_>> for Room {
    fn from(room: RoomRef<'_>) -> Self {
        Self(room.0.into())
    }
}

/// The spine subject of one tenant's room: `<tenant>.<room>`, and nothing else.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(Arc<str>);

impl Subject {
    /// Joins a tenant and a room.
    #[must_use]
    pub fn new(tenant: &Tenant, room: RoomRef<'_>) -> Self {
        let mut s = String::with_capacity(tenant.0.len() + 1 + room.0.len());
        s.push_str(&tenant.0);
        s.push('.');
        s.push_str(room.0);
        Self(s.into())
    }

    /// Parses a subject that came from the spine.
    ///
    /// # Errors
    /// Refuses what [`Subject::new`] could not have built.
    pub fn parse(subject: &str) -> Result<Self, NameError> {
        let (tenant, room) = subject.split_once('.').ok_or(NameError::Empty("room"))?;
        Tenant::parse(tenant)?;
        RoomRef::parse(room)?;
        Ok(Self(subject.into()))
    }

    /// The subject as the spine writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The two names it was built from.
    #[must_use]
    pub fn split(&self) -> (&str, RoomRef<'_>) {
        let (tenant, room) = self.0.split_once('.').unwrap_or((&self.0, ""));
        (tenant, RoomRef(room))
    }
}

/// A user within a tenant: the `sub` claim, 1 to 128 bytes without control characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct User(Arc<str>);

impl User {
    /// Parses a user name.
    ///
    /// # Errors
    /// Refuses empty and over-long names and control characters.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty("user"));
        }
        if name.len() > USER_LEN_MAX {
            return Err(NameError::TooLong { what: "user", max: USER_LEN_MAX });
        }
        if name.chars().any(char::is_control) {
            return Err(NameError::BadCharacter("user"));
        }
        Ok(Self(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One session of a client: 128 random bits, written as 32 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u128);

impl SessionId {
    /// Parses the written form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(Self)
    }

    /// The written form, in a buffer of the caller's.
    #[must_use]
    pub fn write(self, buffer: &mut [u8; 32]) -> &str {
        for (digit, at) in buffer.iter_mut().zip((0..32).rev()) {
            *digit = b"0123456789abcdef"[(self.0 >> (4 * at)) as usize & 0xf];
        }
        std::str::from_utf8(buffer).expect("digits are ASCII")
    }
}

/// A Shield's name: the grammar of a tenant. Unique within one bus.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShieldId(Arc<str>);

impl ShieldId {
    /// Parses a Shield's name.
    ///
    /// # Errors
    /// As [`Tenant::parse`].
    pub fn parse(name: &str) -> Result<Self, NameError> {
        Tenant::parse(name).map(|t| Self(t.0))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Refuses a `msg_id` that is empty, longer than [`MSG_ID_LEN_MAX`] or not printable ASCII.
///
/// # Errors
/// Names the rule that was broken.
pub fn check_msg_id(id: &str) -> Result<(), NameError> {
    if id.is_empty() {
        return Err(NameError::Empty("msg_id"));
    }
    if id.len() > MSG_ID_LEN_MAX {
        return Err(NameError::TooLong { what: "msg_id", max: MSG_ID_LEN_MAX });
    }
    if !id.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(NameError::BadCharacter("msg_id"));
    }
    Ok(())
}

macro_rules! shown_as_text {
    ($($name:ident $(<$life:lifetime>)?),+) => {$(
        impl fmt::Display for $name $(<$life>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name $(<$life>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", &self.0)
            }
        }
    )+};
}
shown_as_text!(Tenant, Room, RoomRef<'_>, Subject, User, ShieldId);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outside_the_grammar_are_refused() {
        for bad in ["", "_x", "$SYS", "a.b", "a b", "é", "a*", ">", "a\n", &"a".repeat(65)] {
            assert!(Tenant::parse(bad).is_err(), "{bad:?}");
        }
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "*",
            ">",
            "a.*",
            "a b",
            "é",
            "a\u{0}",
            &"a".repeat(65),
            "1.2.3.4.5.6.7.8.9",
        ] {
            assert!(Room::parse(bad).is_err(), "{bad:?}");
        }
        let long = ["a".repeat(64), "b".repeat(64), "c".repeat(64), "d".repeat(63)].join(".");
        assert!(Room::parse(&long).is_err(), "258 bytes");
        assert!(Room::parse("lobby").is_ok() && Room::parse("1.2.3.4.5.6.7.8").is_ok());
    }

    #[test]
    fn a_subject_splits_into_what_built_it() {
        let tenant = Tenant::parse("acme").expect("a good tenant");
        let subject = Subject::new(&tenant, RoomRef::parse("chat.lobby").expect("a good room"));
        assert_eq!(subject.as_str(), "acme.chat.lobby");
        assert_eq!(subject.split().0, "acme");
        assert_eq!(subject.split().1.as_str(), "chat.lobby");
        assert!(Subject::parse("_arqon.brain").is_err(), "control subjects are not rooms");
    }
}
