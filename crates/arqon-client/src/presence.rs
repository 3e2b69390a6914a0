//! What one membership sees of presence, as `docs/protocol.md` tells a client to keep it.

use std::collections::BTreeSet;

use arqon_proto::message::{PresenceDiff, PresenceState};

/// The users of one room, for who watches their names. Begin a new one with each membership.
#[derive(Debug, Default)]
pub struct PresenceView {
    users: BTreeSet<String>,
    /// Pages of a snapshot that is not complete.
    pages: Option<BTreeSet<String>>,
}

/// Users that came and users that went.
#[derive(Debug, Default)]
pub struct Told {
    /// Who came.
    pub joined: Vec<String>,
    /// Who went.
    pub left: Vec<String>,
}

impl PresenceView {
    /// Takes one page of a snapshot in. The last one tells what is new against the view before.
    pub fn page(&mut self, state: &PresenceState<'_>) -> Option<Told> {
        if state.page == 0 {
            self.pages = Some(BTreeSet::new());
        }
        let pages = self.pages.as_mut()?;
        pages.extend(state.members.iter().map(|member| member.user.to_string()));
        if !state.last {
            return None;
        }
        let users = self.pages.take()?;
        let joined = users.difference(&self.users).cloned().collect();
        let left = self.users.difference(&users).cloned().collect();
        self.users = users;
        Some(Told { joined, left })
    }

    /// Takes a diff in. What it says is told as it is, also a leave of somebody who was not there.
    pub fn diff(&mut self, diff: &PresenceDiff<'_>) -> Told {
        let left: Vec<String> = diff.leaves.iter().map(ToString::to_string).collect();
        let joined: Vec<String> = diff.joins.iter().map(|member| member.user.to_string()).collect();
        for user in &left {
            self.users.remove(user);
        }
        self.users.extend(joined.iter().cloned());
        Told { joined, left }
    }

    /// Who is there, sorted.
    #[must_use]
    pub fn users(&self) -> &BTreeSet<String> {
        &self.users
    }
}
