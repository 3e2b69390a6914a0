//! What one membership sees of presence, as `docs/protocol.md` tells a client to keep it.

use std::collections::BTreeSet;

use arqon_proto::message::{PresenceDiff, PresenceState};

/// The users of one room.
#[derive(Debug, Default)]
pub(super) struct View {
    users: BTreeSet<String>,
    /// Pages of a snapshot that is not complete.
    pages: Option<BTreeSet<String>>,
}

impl View {
    /// Takes one page of a snapshot in.
    pub(super) fn page(&mut self, state: &PresenceState<'_>) {
        if state.page == 0 {
            self.pages = Some(BTreeSet::new());
        }
        let Some(pages) = &mut self.pages else { return };
        pages.extend(state.members.iter().map(|member| member.user.to_string()));
        if state.last {
            self.users = self.pages.take().unwrap_or_default();
        }
    }

    /// Takes a diff in.
    pub(super) fn diff(&mut self, diff: &PresenceDiff<'_>) {
        for user in &diff.leaves {
            self.users.remove(user.as_ref());
        }
        self.users.extend(diff.joins.iter().map(|member| member.user.to_string()));
    }

    /// Who is there, sorted.
    pub(super) fn users(&self) -> Vec<String> {
        self.users.iter().cloned().collect()
    }
}
