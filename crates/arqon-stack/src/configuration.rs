//! What the parts are told in their files.

use std::net::SocketAddr;
use std::path::Path;

use arqon_shield::brain_terms;
use arqon_shield::config::Config;
use toml::{Table, Value};

use crate::{Secrets, StackError};

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
    pub(crate) valkey: String,
    pub(crate) secrets: &'a Secrets,
    /// What the user of the stack wants besides.
    pub(crate) settings: &'a Table,
}

impl Surroundings<'_> {
    /// The `config.toml` of a Shield.
    pub(crate) fn shield(&self, name: &str, clients: SocketAddr, admin: SocketAddr) -> String {
        let mut table = Table::new();
        set(&mut table, "shield", "id", name.to_owned());
        set(&mut table, "shield", "listen", clients.to_string());
        set(&mut table, "shield", "admin_listen", admin.to_string());
        self.spine(&mut table, "shield", &self.secrets.nats_shield);
        let mut key = Table::new();
        key.insert("kid".to_owned(), self.secrets.kid.clone().into());
        key.insert("alg".to_owned(), "HS256".into());
        key.insert("file".to_owned(), self.secrets.token_key.display().to_string().into());
        set(&mut table, "auth", "keys", Value::Array(vec![Value::Table(key)]));
        self.finish(table)
    }

    /// The Erlang terms of a Brain, as `arq config render brain` makes them.
    ///
    /// # Errors
    /// The settings are no configuration.
    pub(crate) fn brain(&self, name: &str, admin: SocketAddr) -> Result<String, StackError> {
        let mut table = Table::new();
        set(&mut table, "brain", "name", name.to_owned());
        set(&mut table, "brain", "admin_listen", admin.to_string());
        self.spine(&mut table, "brain", &self.secrets.nats_brain);
        set(&mut table, "valkey", "address", self.valkey.clone());
        let wrong = |error: String| StackError::Settings { name: name.to_owned(), error };
        let config = Config::parse(&self.finish(table), name).map_err(|error| wrong(error.to_string()))?;
        // All paths are absolute.
        brain_terms::render(&config, Path::new("/")).map_err(|error| wrong(error.to_string()))
    }

    fn spine(&self, table: &mut Table, user: &str, password_file: &Path) {
        set(table, "spine", "kind", "nats".to_owned());
        set(table, "spine", "servers", vec![self.nats.clone()]);
        set(table, "spine", "user", user.to_owned());
        set(table, "spine", "password_file", password_file.display().to_string());
    }

    fn finish(&self, mut table: Table) -> String {
        lay_over(&mut table, self.settings);
        table.to_string()
    }
}

/// Sets one key of a section, which is made if it is not there.
pub fn set(table: &mut Table, section: &str, key: &str, value: impl Into<Value>) {
    let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(section) = section {
        section.insert(key.to_owned(), value.into());
    }
}

/// Lays settings over others: a table is merged key by key, anything else replaced.
pub fn lay_over(table: &mut Table, settings: &Table) {
    for (key, value) in settings {
        match (table.get_mut(key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => lay_over(below, above),
            _ => drop(table.insert(key.clone(), value.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brains_in_containers_are_told_what_their_configuration_says() {
        for name in ["brain-1", "brain-2"] {
            let folder = crate::programs::repository().join("deploy/config");
            let source = folder.join(format!("{name}.toml"));
            let config = Config::load(&source).expect("a configuration");
            let rendered = brain_terms::render(&config, Path::new("/")).expect("for a Brain");
            let file = std::fs::read_to_string(folder.join(format!("{name}.config"))).expect("it is there");
            assert_eq!(
                file, rendered,
                "arq config render brain --config deploy/config/{name}.toml > deploy/config/{name}.config"
            );
        }
    }

    #[test]
    fn settings_are_merged_key_by_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let secrets = Secrets::make(folder.path(), false).expect("secrets");
        let settings = "[presence]\nlease = \"2s\"\n[spine]\ntail_for = \"5s\"".parse().expect("TOML");
        let surroundings = Surroundings {
            nats: "nats://127.0.0.1:1".to_owned(),
            valkey: "127.0.0.1:2".to_owned(),
            secrets: &secrets,
            settings: &settings,
        };
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let shield = Config::parse(&surroundings.shield("shield-7", any, any), "shield-7").expect("valid");
        assert_eq!((shield.shield.id.as_str(), shield.spine.user.as_str()), ("shield-7", "shield"));
        assert_eq!(shield.presence.lease.as_secs(), 2);
        assert_eq!(shield.spine.tail_for.as_secs(), 5);
        let brain = surroundings.brain("brain-7", any).expect("valid");
        assert!(brain.contains("brain-7") && brain.contains("{lease_ms, 2000}"), "{brain}");
        let wrong: Table = "[presence]\nleese = \"2s\"".parse().expect("TOML");
        let error = Surroundings { settings: &wrong, ..surroundings }.brain("brain-7", any);
        assert!(error.is_err_and(|error| error.to_string().contains("lease")));
    }
}
