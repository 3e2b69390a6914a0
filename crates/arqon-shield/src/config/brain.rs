//! `[brain]` and `[valkey]`: what a Brain is told, by way of `arq config render brain`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use arqon_proto::id::ShieldId;

use super::names;
use super::section::section;

section! {
    /// A Brain, which keeps presence, rooms and Shields in view. A Shield does not read this; `arq config render brain` does.
    BrainTable = "brain" {
        /// Name of this Brain, unique among the Brains of one bus: `[A-Za-z0-9][A-Za-z0-9_-]{0,63}`. Default "brain-1".
        #[serde(with = "names::shield_id")]
        name: ShieldId = ShieldId::parse("brain-1").expect("a literal that fits the grammar"),
        /// Address for health and metrics. Default "127.0.0.1:7331". It has no authentication: never expose it.
        admin_listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 7331)),
        /// Processes that rooms are spread over. Default 0: one per core.
        shards: u32 = 0,
    }
}

section! {
    /// Where Brains write down what has to survive them all: revocations, settings and which life of a room it is.
    ValkeyConfig = "valkey" {
        /// Host and port, such as "127.0.0.1:6379". Default "": none, and a restart of all Brains and Shields forgets them.
        address: String = String::new(),
        /// The user, for a server with access lists. Default "": none.
        user: String = String::new(),
        /// File of the password, relative to this file. Default "": none.
        password_file: PathBuf = PathBuf::new(),
        /// What every key begins with. Default "arqon". One per bus, where several share a server.
        prefix: String = "arqon".to_owned(),
    }
}

impl ValkeyConfig {
    /// Host and port, if there is a server.
    ///
    /// # Errors
    /// Says what an address looks like.
    pub fn host_and_port(&self) -> Result<Option<(&str, u16)>, String> {
        if self.address.is_empty() {
            return Ok(None);
        }
        let parts = self.address.rsplit_once(':').and_then(|(host, port)| {
            let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            let port = port.parse().ok().filter(|port| *port > 0)?;
            (!host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic())).then_some((host, port))
        });
        parts.map(Some).ok_or_else(|| {
            format!("valkey.address is {:?}: expected host:port, such as \"127.0.0.1:6379\"", self.address)
        })
    }

    /// What cannot work: the key, and what is wrong with it.
    pub(super) fn impossible(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if let Err(message) = self.host_and_port() {
            problems.push(("valkey.address", message));
        }
        let keys = [
            ("valkey.user", !self.user.is_empty()),
            ("valkey.password_file", !self.password_file.as_os_str().is_empty()),
        ];
        for (key, _) in keys.iter().filter(|(_, set)| *set && self.address.is_empty()) {
            problems.push((key, format!("{key} is set but valkey.address is not: it is of no use alone")));
        }
        if !self.user.is_empty() && self.password_file.as_os_str().is_empty() {
            problems.push(("valkey.user", "valkey.user is set but valkey.password_file is not".to_owned()));
        }
        if self.prefix.is_empty()
            || !self.prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-:".contains(&b))
        {
            problems.push((
                "valkey.prefix",
                format!("valkey.prefix is {:?}: expected letters, digits, _, - and :", self.prefix),
            ));
        }
        problems
    }
}
