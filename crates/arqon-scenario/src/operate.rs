//! What operators do while a scenario runs.

use arqon_proto::id::{Room, Tenant, User};
use serde::{Deserialize, Serialize};

use crate::format::Topology;
use crate::rng::Rng;
use crate::values::{Node, Span};

/// How long a revocation lasts if the scenario does not say, in milliseconds.
const REVOKED_FOR_MS: u64 = 3_600_000;

/// One order of an operator, as it is written.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Operate {
    /// When.
    pub at: Span,
    /// What.
    pub r#do: OrderKind,
    /// Whose user or room.
    #[serde(default = "default_tenant")]
    pub tenant: String,
    /// For `kick` and `revoke`: who, such as `chat.3`.
    pub user: Option<String>,
    /// For `close_room`: which. For `settings`: which rooms, as a pattern.
    pub room: Option<String>,
    /// For `drain`: which Shield.
    pub node: Option<Node>,
    /// For `revoke`: how long, an hour if it is not said.
    pub r#for: Option<Span>,
    /// For `settings`: sockets in one room, 0 for no limit.
    #[serde(default)]
    pub members_max: u64,
    /// For `settings`: publications a second into one room by one Shield's clients, 0 for no limit.
    #[serde(default)]
    pub publish_rate_per_s: u64,
}

/// The kinds of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OrderKind {
    /// Ends a user's sessions.
    Kick,
    /// Ends a user's sessions, and refuses the tokens that were issued before.
    Revoke,
    /// Replaces the settings of rooms by one line.
    Settings,
    /// Ends every membership of a room.
    CloseRoom,
    /// Drains a Shield.
    Drain,
}

/// One order, as it is carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Ends a user's sessions.
    Kick {
        /// The tenant.
        tenant: String,
        /// The user.
        user: String,
    },
    /// Ends a user's sessions, and refuses the tokens that were issued before.
    Revoke {
        /// The tenant.
        tenant: String,
        /// The user.
        user: String,
        /// For so long from now on, in milliseconds.
        for_ms: u64,
    },
    /// Replaces the settings of rooms by one line.
    Settings {
        /// The tenant.
        tenant: String,
        /// The rooms' pattern.
        room: String,
        /// Sockets in one room; 0: no limit.
        members_max: u64,
        /// Publications a second into one room by one Shield's clients; 0: no limit.
        publish_rate_per_s: u64,
    },
    /// Ends every membership of a room.
    CloseRoom {
        /// The tenant.
        tenant: String,
        /// The room.
        room: String,
    },
    /// Drains a Shield.
    Drain {
        /// Its number.
        shield: u32,
    },
}

fn default_tenant() -> String {
    "acme".to_owned()
}

impl Operate {
    pub(crate) fn validate(&self, topology: &Topology) -> Result<(), String> {
        Tenant::parse(&self.tenant).map_err(|e| e.to_string())?;
        let users = matches!(self.r#do, OrderKind::Kick | OrderKind::Revoke);
        if users != self.user.is_some() {
            return Err("`user` belongs to kick and revoke".to_owned());
        }
        let rooms = matches!(self.r#do, OrderKind::CloseRoom | OrderKind::Settings);
        if rooms != self.room.is_some() {
            return Err("`room` belongs to close_room and settings".to_owned());
        }
        self.user.iter().try_for_each(|u| User::parse(u).map(drop)).map_err(|e| e.to_string())?;
        if self.r#do == OrderKind::CloseRoom {
            self.room.iter().try_for_each(|r| Room::parse(r).map(drop)).map_err(|e| e.to_string())?;
        }
        match (self.r#do, self.node) {
            (OrderKind::Drain, Some(Node::Shield(n))) if n < topology.shields => {}
            (OrderKind::Drain, _) => return Err("`node` is the Shield that is drained".to_owned()),
            (_, Some(_)) => return Err("`node` belongs to drain".to_owned()),
            (_, None) => {}
        }
        if self.r#for.is_some() && self.r#do != OrderKind::Revoke {
            return Err("`for` belongs to revoke".to_owned());
        }
        if self.r#do != OrderKind::Settings && self.members_max + self.publish_rate_per_s > 0 {
            return Err("limits belong to settings".to_owned());
        }
        Ok(())
    }

    /// When, in milliseconds, and what.
    pub(crate) fn draw(&self, rng: &mut Rng) -> (u64, Order) {
        let (tenant, user) = (self.tenant.clone(), self.user.clone().unwrap_or_default());
        let room = self.room.clone().unwrap_or_default();
        let t_ms = self.at.draw(rng);
        let order = match self.r#do {
            OrderKind::Kick => Order::Kick { tenant, user },
            OrderKind::Revoke => {
                let for_ms = self.r#for.map_or(REVOKED_FOR_MS, |span| span.draw(rng));
                Order::Revoke { tenant, user, for_ms }
            }
            OrderKind::Settings => {
                let Self { members_max, publish_rate_per_s, .. } = *self;
                Order::Settings { tenant, room, members_max, publish_rate_per_s }
            }
            OrderKind::CloseRoom => Order::CloseRoom { tenant, room },
            OrderKind::Drain => {
                let shield = if let Some(Node::Shield(n)) = self.node { n } else { 0 };
                Order::Drain { shield }
            }
        };
        (t_ms, order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Scenario;
    use crate::plan::{Do, compile};

    fn read(order: &str) -> Result<Scenario, String> {
        let text =
            "schema = \"arqon.scenario/1\"\nwhy = \"a test\"\nduration = \"5s\"\n[check]\n[[operate]]\n";
        Scenario::parse(&format!("{text}{order}\n")).map_err(|e| e.to_string())
    }

    #[test]
    fn an_order_has_what_it_needs_and_nothing_else() {
        let good =
            read("at = \"2s\"\ndo = \"revoke\"\nuser = \"chat.0\"\nfor = \"10s\"").expect("a good order");
        let plan = compile(&good, 1);
        let (tenant, user) = ("acme".to_owned(), "chat.0".to_owned());
        assert_eq!(plan.ops[0].r#do, Do::Operate { order: Order::Revoke { tenant, user, for_ms: 10_000 } });
        for (order, says) in [
            ("do = \"kick\"", "user"),
            ("do = \"close_room\"\nroom = \"lob*by\"", "character"),
            ("do = \"drain\"\nnode = \"shield.9\"", "node"),
            ("do = \"close_room\"\nroom = \"lobby\"\nuser = \"a\"", "user"),
            ("do = \"kick\"\nuser = \"a\"\nfor = \"1s\"", "for"),
            ("do = \"kick\"\nuser = \"a\"\nmembers_max = 1", "limits"),
        ] {
            let error = read(&format!("at = \"1s\"\n{order}")).expect_err(order);
            assert!(error.contains(says), "{order}: {error}");
        }
    }
}
