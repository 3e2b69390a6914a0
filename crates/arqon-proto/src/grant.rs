//! Who a session is and what it may do, as its token says.

use std::sync::Arc;

use crate::id::{NameError, RoomRef, SessionId, Tenant, User};

/// What a grant allows in the rooms it matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Actions {
    /// Become a member.
    pub subscribe: bool,
    /// Publish.
    pub publish: bool,
    /// Be tracked and watch.
    pub presence: bool,
}

/// Which rooms a grant covers: exact tokens, `*` for one token, a last `>` for one or more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// Parses a pattern such as `chat.*`, `lobby` or `>`.
    ///
    /// # Errors
    /// Refuses what no room could match: empty tokens, `>` before the end, other characters.
    pub fn parse(pattern: &str) -> Result<Self, NameError> {
        let tokens = pattern.split('.').count();
        for (i, token) in pattern.split('.').enumerate() {
            let wild = token == "*" || (token == ">" && i + 1 == tokens);
            if !wild {
                RoomRef::parse(token)?;
            }
        }
        Ok(Self(pattern.into()))
    }

    /// Whether the pattern covers this room.
    #[must_use]
    pub fn matches(&self, room: RoomRef<'_>) -> bool {
        let mut tokens = room.as_str().split('.');
        for pattern in self.0.split('.') {
            match (pattern, tokens.next()) {
                (">", Some(_)) => return true,
                ("*", Some(_)) => {}
                (exact, Some(token)) if exact == token => {}
                _ => return false,
            }
        }
        tokens.next().is_none()
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One line of the `grants` claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The rooms.
    pub rooms: Pattern,
    /// The actions.
    pub can: Actions,
}

/// What a token allows on the server API, besides what its grants allow clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Admin {
    /// Nothing.
    #[default]
    None,
    /// To administer its own tenant.
    Tenant,
    /// To administer every tenant, the Shields and the settings.
    Bus,
}

/// A verified token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Claim `tenant`.
    pub tenant: Tenant,
    /// Claim `sub`.
    pub user: User,
    /// Claim `exp`, Unix milliseconds: from then on the token is worth nothing.
    pub expires_wall_ms: u64,
    /// Claim `grants`: any match allows. Shared by all sessions that have the same.
    pub grants: Arc<[Grant]>,
    /// Claim `iat`, Unix milliseconds, for revocation; 0 if the token does not say.
    pub issued_wall_ms: u64,
    /// Claim `jti`, for revocation.
    pub token_id: Option<Box<str>>,
    /// Claim `admin`.
    pub admin: Admin,
    /// All claims as JSON, if a policy wants to see them.
    pub claims: Option<Arc<str>>,
}

impl Identity {
    /// The union of all grants that cover a room.
    #[must_use]
    pub fn actions(&self, room: RoomRef<'_>) -> Actions {
        let mut all = Actions::default();
        for grant in self.grants.iter().filter(|grant| grant.rooms.matches(room)) {
            all.subscribe |= grant.can.subscribe;
            all.publish |= grant.can.publish;
            all.presence |= grant.can.presence;
        }
        all
    }
}

/// A session that has authenticated, as other parts of the bus name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The session.
    pub session: SessionId,
    /// Its tenant.
    pub tenant: Tenant,
    /// Its user.
    pub user: User,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_tokens() {
        let covers = |pattern: &str, room: &str| {
            Pattern::parse(pattern)
                .expect("a good pattern")
                .matches(RoomRef::parse(room).expect("a good room"))
        };
        assert!(covers("lobby", "lobby") && !covers("lobby", "lobby.a") && !covers("lobby", "lobb"));
        assert!(covers("chat.*", "chat.a") && !covers("chat.*", "chat") && !covers("chat.*", "chat.a.b"));
        assert!(covers("chat.>", "chat.a.b") && !covers("chat.>", "chat") && covers(">", "x.y"));
        for bad in ["", "a..b", ">.a", "a*", "a b", "$x"] {
            assert!(Pattern::parse(bad).is_err(), "{bad:?}");
        }
    }
}
