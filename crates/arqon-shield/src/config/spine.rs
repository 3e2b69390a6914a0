//! The table `[spine]`.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::lonely;
use super::section::section;
use super::units::{self, ByteSize};

section! {
    /// What carries publications between Shields.
    SpineConfig = "spine" {
        /// "memory": inside this process, for one Shield alone. "nats": a NATS server, for several. Default "memory".
        kind: SpineKind = SpineKind::Memory,
        /// NATS servers, such as `["nats://127.0.0.1:4222"]`; tls:// asks for TLS. Default []. The Shield uses one of them, and the next one
        /// when it is lost.
        servers: Vec<String> = Vec::new(),
        /// The NATS user whose password is in password_file. Default "": none.
        user: String = String::new(),
        /// File of the password of user, relative to this file. Default "": none. The permissions it needs are in docs/control.md.
        password_file: PathBuf = PathBuf::new(),
        /// File of an nkey seed (SU...), relative to this file, instead of user and password. Default "": none.
        nkey_file: PathBuf = PathBuf::new(),
        /// File of NATS credentials (a JWT and a seed, as nsc makes it), relative to this file, instead of the others. Default "": none.
        creds_file: PathBuf = PathBuf::new(),
        /// Whether a NATS server without TLS is refused. Default false. A tls_ca_file or tls_cert_file asks for TLS as well.
        tls_required: bool = false,
        /// File with the certificates (PEM) that may sign that of the server, relative to this file. Default "": those of the system.
        tls_ca_file: PathBuf = PathBuf::new(),
        /// File with the certificate (PEM) that this Shield shows to the server, relative to this file. Default "": none.
        tls_cert_file: PathBuf = PathBuf::new(),
        /// File with the key (PEM) of tls_cert_file, relative to this file. Default "": none.
        tls_key_file: PathBuf = PathBuf::new(),
        /// How long a subscribe or publish waits for the spine before it is answered unavailable or outcome_unknown. Default 2s.
        /// Shorter than a usual reconnect: clients see errors that were none.
        #[serde(with = "units::duration")]
        barrier_deadline: Duration = Duration::from_secs(2),
        /// How often the last sequence numbers of recently active rooms are announced. Default 1s: the time within which the loss of the last
        /// publication of a room is noticed.
        #[serde(with = "units::duration")]
        tail_interval: Duration = Duration::from_secs(1),
        /// How long a room is announced after its last publication; at least tail_interval. Default 10s. A link that was down for
        /// longer is reported as a gap of unknown size.
        #[serde(with = "units::duration")]
        tail_for: Duration = Duration::from_secs(10),
        /// How long a msg_id is remembered, so that a retry is delivered once; at least barrier_deadline, after which clients retry.
        /// Default 2m. Longer: more memory per busy room.
        #[serde(with = "units::duration")]
        dedupe_for: Duration = Duration::from_secs(120),
        /// Bytes that wait between this Shield and the spine, each way. Default 8MiB. When full, publishes are answered overloaded and what arrives
        /// is dropped and told as a gap. At least message_bytes_max.
        queue_bytes_max: ByteSize = ByteSize::mib(8),
        /// Messages that wait between this Shield and the spine, each way. Default 65536.
        queue_messages_max: u32 = 65_536,
    }
}

/// What the spine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SpineKind {
    /// In this process.
    Memory,
    /// A NATS server.
    Nats,
}

/// The keys that only make sense with NATS.
const NATS_KEYS: &[&str] = &[
    "spine.servers",
    "spine.user",
    "spine.password_file",
    "spine.nkey_file",
    "spine.creds_file",
    "spine.tls_required",
    "spine.tls_ca_file",
    "spine.tls_cert_file",
    "spine.tls_key_file",
];

impl SpineConfig {
    /// Says which keys are set, in the order of [`NATS_KEYS`].
    fn is_set(&self) -> [bool; 9] {
        let named = |path: &PathBuf| !path.as_os_str().is_empty();
        [
            !self.servers.is_empty(),
            !self.user.is_empty(),
            named(&self.password_file),
            named(&self.nkey_file),
            named(&self.creds_file),
            self.tls_required,
            named(&self.tls_ca_file),
            named(&self.tls_cert_file),
            named(&self.tls_key_file),
        ]
    }

    /// Every combination that cannot work: the keys, the first one the place of the problem, and what is wrong with them.
    pub(super) fn impossible(&self) -> Vec<(Vec<String>, String)> {
        let set = self.is_set();
        let mut problems = Vec::new();
        let mut broken = |keys: &[&str], message: String| {
            problems.push((keys.iter().map(|key| (*key).to_owned()).collect(), message));
        };
        if self.kind == SpineKind::Memory {
            for (key, _) in NATS_KEYS.iter().zip(set).filter(|(_, set)| *set) {
                broken(&[key], format!("{key} is set but spine.kind is \"memory\": it is for \"nats\""));
            }
            return problems;
        }
        let [servers, user, password, nkey, creds, _, _, certificate, key] = set;
        if !servers {
            let message =
                "spine.kind is \"nats\" but spine.servers is []: name one, such as \"nats://127.0.0.1:4222\"";
            broken(&["spine.kind"], message.to_owned());
        }
        for (i, server) in self.servers.iter().enumerate() {
            if let Err(error) = crate::spine::parse_server(server) {
                let at = format!("spine.servers.{i}");
                // Not quoted: it may hold a password.
                broken(&[&at], format!("{at}: {error}"));
            }
        }
        for alone in [
            lonely(("spine.user", user), ("spine.password_file", password)),
            lonely(("spine.tls_cert_file", certificate), ("spine.tls_key_file", key)),
        ] {
            alone.into_iter().for_each(|(there, message)| broken(&[there], message));
        }
        let ways =
            [("spine.password_file", password), ("spine.nkey_file", nkey), ("spine.creds_file", creds)];
        let ways: Vec<_> = ways.into_iter().filter(|(_, set)| *set).map(|(key, _)| key).collect();
        if let [first, second, ..] = ways[..] {
            broken(
                &[second, first],
                format!("{second} is set but so is {first}: a Shield shows one of them"),
            );
        }
        problems
    }
}
