//! What the parts are told in their files.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use toml::{Table, Value};

use crate::Secrets;

/// The configuration of the nats-server, permissions included: the one that is deployed.
pub(crate) const NATS: &str = include_str!("../../../deploy/nats/nats.conf");
/// The configuration of Valkey in a container: the one that is deployed.
#[cfg(feature = "containers")]
pub(crate) const VALKEY: &str = include_str!("../../../deploy/valkey/valkey.conf");

/// What a Shield and a Brain have to know about the others.
#[derive(Debug)]
pub(crate) struct Surroundings<'a> {
    /// As clients of NATS write it.
    pub(crate) nats: String,
    /// Host and port of Valkey.
    pub(crate) valkey: (String, u16),
    pub(crate) secrets: &'a Secrets,
    /// What the user of the stack wants besides.
    pub(crate) settings: &'a Table,
}

impl Surroundings<'_> {
    /// The `config.toml` of a Shield.
    pub(crate) fn shield(&self, name: &str, clients: SocketAddr, admin: SocketAddr) -> String {
        let mut table = Table::new();
        let path = |path: &Path| path.display().to_string();
        set(&mut table, "shield", "id", name.to_owned());
        set(&mut table, "shield", "listen", clients.to_string());
        set(&mut table, "shield", "admin_listen", admin.to_string());
        set(&mut table, "spine", "kind", "nats".to_owned());
        set(&mut table, "spine", "servers", vec![self.nats.clone()]);
        set(&mut table, "spine", "user", "shield".to_owned());
        set(&mut table, "spine", "password_file", path(&self.secrets.nats_shield));
        let mut key = Table::new();
        key.insert("kid".to_owned(), self.secrets.kid.clone().into());
        key.insert("alg".to_owned(), "HS256".into());
        key.insert("file".to_owned(), path(&self.secrets.token_key).into());
        set(&mut table, "auth", "keys", Value::Array(vec![Value::Table(key)]));
        for (name, settings) in self.settings {
            merge(&mut table, name, settings);
        }
        table.to_string()
    }

    /// The Erlang terms of a Brain.
    pub(crate) fn brain(&self, name: &str, admin: SocketAddr) -> String {
        let mut text = String::new();
        let binary = |text: &str| format!("<<{text:?}>>");
        let (host, port) = &self.valkey;
        let _ = write!(
            text,
            "[{{arqon_brain, [
  {{name, {name}}},
  {{admin_listen, {{{admin_host}, {admin_port}}}}},
  {{shards, 2}},
  {{spine, [
    {{servers, [{server}]}},
    {{auth, {{password, <<\"brain\">>, {password}}}}},
    {{tls, none}},
    {{queue_bytes_max, 8388608}},
    {{queue_messages_max, 65536}}]}},
  {{presence, [
    {{lease_ms, {lease}}},
    {{grace_ms, {grace}}},
    {{announce_window_ms, 20}},
    {{sync_ms, 10000}},
    {{idle_close_ms, 60000}},
    {{permanent_down_ms, 600000}}]}},
  {{limits, [
    {{shields_max, 400}},
    {{rooms_max, 1000000}},
    {{sessions_per_room_max, 50000}}]}},
  {{valkey, [{{address, {{{valkey}, {port}}}}}, {{prefix, <<\"arqon\">>}}]}},
  {{log_level, info}}
]}}].
",
            name = binary(name),
            admin_host = binary(&admin.ip().to_string()),
            admin_port = admin.port(),
            server = binary(&self.nats),
            password = binary(&self.secrets.nats_brain.display().to_string()),
            lease = 6000,
            grace = 5000,
            valkey = binary(host),
        );
        text
    }
}

fn set(table: &mut Table, section: &str, key: &str, value: impl Into<Value>) {
    let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(section) = section {
        section.insert(key.to_owned(), value.into());
    }
}

/// A table is merged key by key, anything else replaced.
fn merge(table: &mut Table, name: &str, settings: &Value) {
    match (table.get_mut(name), settings) {
        (Some(Value::Table(into)), Value::Table(from)) => {
            for (key, value) in from {
                merge(into, key, value);
            }
        }
        _ => {
            table.insert(name.to_owned(), settings.clone());
        }
    }
}
