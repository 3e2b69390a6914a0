//! `arq dev up`: the whole bus in this process, with a key that lives as long as it.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use arqon_shield::app::Addresses;
use arqon_shield::config::{Algorithm, Config, KeyConfig};
use arqon_shield::server::{self, Running, StartError};
use serde_json::json;

use crate::auth::{DEV_KID, dev_admin_token, dev_token};
use crate::cli::{DEV_ADMIN_PORT, DEV_PORT, Up};
use crate::failure::Failure;
use crate::machine::{self, Interrupts};
use crate::print::print_line;
use crate::runtime_file::{DevBus, Parts, RuntimeDir};
use crate::stack;

/// A working day and the night after it; a new start makes a new token.
pub(crate) const TOKEN_TTL: Duration = Duration::from_secs(24 * 3600);
/// Long enough for clients to be told, short enough for somebody who waits at a terminal.
pub(crate) const DRAIN_WINDOW: Duration = Duration::from_secs(5);
/// A page that a developer serves from the same machine, whatever its port.
pub(crate) const PAGES: [&str; 4] =
    ["http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*", "https://localhost:*"];
const TITLE: &str = "one process, nothing is stored, for this machine only";

pub(crate) async fn up(args: &Up) -> Result<(), Failure> {
    if args.stack { stack::up(args).await } else { embedded(args).await }
}

async fn embedded(args: &Up) -> Result<(), Failure> {
    let dir = RuntimeDir::of_user();
    let admin_port = args.admin_port.unwrap_or(if args.port == DEV_PORT { DEV_ADMIN_PORT } else { 0 });
    let secret = new_secret()?;
    let key_file = dir.write_key(secret.as_bytes())?;
    let bus = Embedded::start(configure(args.port, admin_port, &key_file)).inspect_err(|_| {
        dir.forget(std::process::id(), &key_file);
    })?;
    let Addresses { clients, admin } = bus.addresses();
    let found = DevBus {
        ws_url: format!("ws://{clients}/v1/connect"),
        admin_url: format!("http://{admin}"),
        token: dev_token(secret.as_bytes(), TOKEN_TTL)?,
        admin_token: dev_admin_token(secret.as_bytes(), TOKEN_TTL)?,
        pid: std::process::id(),
        key_file,
        kid: DEV_KID.to_owned(),
        others: Vec::new(),
        parts: Parts::Embedded,
    };
    dir.write(&found)?;
    // Before anything is printed: whoever reads the line may end this process at once.
    let mut interrupts = Interrupts::listen()?;
    let told = tell(&found, args.json, TITLE, "Ctrl-C ends it.");
    if told.is_ok() {
        tokio::select! {
            () = interrupts.next() => {}
            // An operator may drain the only Shield of the bus.
            () = bus.drained() => {}
        }
    }
    // Gone from the file first: nobody new should find a bus that is about to end.
    dir.forget(found.pid, &found.key_file);
    tokio::select! {
        () = bus.drain() => {}
        // A second Ctrl-C: whoever waits does not want to.
        () = interrupts.next() => {}
    }
    told
}

/// The bus in this process. What it takes to run one is known here only.
struct Embedded(Running);

impl Embedded {
    /// Starts a Shield on the memory spine with the presence model as a peer; it accepts clients when this returns.
    fn start(config: Config) -> Result<Self, Failure> {
        let verifier = server::verifier(&config, Path::new(""));
        let verifier = verifier.map_err(|error| Failure::failed(error.to_string()))?;
        let clients = config.shield.listen;
        let running =
            server::start_embedded(config, verifier).map_err(|error| not_started(&error, clients))?;
        Ok(Self(running))
    }

    fn addresses(&self) -> Addresses {
        self.0.addresses()
    }

    async fn drained(&self) {
        self.0.control().drained().await;
    }

    /// Tells the clients, waits for them to go, and ends. At once if there are none.
    async fn drain(self) {
        let (done, ended) = tokio::sync::oneshot::channel();
        // A thread of its own, for it joins the threads of the bus: a second Ctrl-C must still be heard here.
        let waiting = std::thread::Builder::new().name("drain".to_owned()).spawn(move || {
            self.0.drain();
            // Nobody listens after that second Ctrl-C.
            let _ = done.send(());
        });
        if waiting.is_ok() {
            // An error means that the thread panicked and has printed why.
            let _ = ended.await;
        }
    }
}

fn not_started(error: &StartError, clients: SocketAddr) -> Failure {
    let StartError::Listen { address, error: cause } = error else {
        return Failure::failed(error.to_string());
    };
    let instead = if *address == clients { "--port 0" } else { "--admin-port 0" };
    let port = address.port();
    Failure::failed(match cause.kind() {
        ErrorKind::AddrInUse => format!("port {port} is taken by another program; try {instead}"),
        _ => format!("port {port}: {cause}; try {instead}"),
    })
}

fn configure(port: u16, admin_port: u16, key_file: &Path) -> Config {
    let mut config = Config::default();
    config.shield.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    config.shield.admin_listen = SocketAddr::from((Ipv4Addr::LOCALHOST, admin_port));
    config.auth.keys =
        vec![KeyConfig { kid: DEV_KID.to_owned(), alg: Algorithm::HS256, file: key_file.to_owned() }];
    config.drain.window = DRAIN_WINDOW;
    config.origin.allowed = PAGES.map(str::to_owned).to_vec();
    config
}

/// 256 random bits as hex: nothing in it that an editor or a shell would change.
fn new_secret() -> Result<String, Failure> {
    let mut secret = String::with_capacity(64);
    for _ in 0..4 {
        secret.push_str(&format!("{:016x}", machine::random()?));
    }
    Ok(secret)
}

/// Says where the bus is: what kind it is, and how it ends.
pub(crate) fn tell(bus: &DevBus, json: bool, kind: &str, end: &str) -> Result<(), Failure> {
    let text = if json {
        json!({ "ws_url": bus.ws_url, "admin_url": bus.admin_url, "token": bus.token }).to_string()
    } else {
        let program = std::env::args().next().unwrap_or_else(|| "arq".to_owned());
        welcome(bus, &program, kind, end)
    };
    print_line(text.as_bytes())
}

fn welcome(bus: &DevBus, program: &str, kind: &str, end: &str) -> String {
    let DevBus { ws_url, admin_url, token, .. } = bus;
    let others: String = bus.others.iter().map(|url| format!("\n  and    {url}")).collect();
    format!(
        "ArqonBus is up: {kind}.

  URL    {ws_url}{others}
  Admin  {admin_url}
  Token  {token}
         (tenant dev, user dev, every room, for 24 hours)

Try, in other terminals:

  {program} sub lobby --track '{{\"at\":\"desk\"}}'
  {program} pub lobby '{{\"hello\":\"world\"}}'
  {program} presence lobby
  {program} rooms

{end}"
    )
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use expect_test::expect;

    use super::*;

    #[test]
    fn the_welcome_has_url_token_and_three_commands() {
        let bus = DevBus {
            ws_url: "ws://127.0.0.1:7320/v1/connect".to_owned(),
            admin_url: "http://127.0.0.1:7321".to_owned(),
            token: "eyJ.x.y".to_owned(),
            admin_token: "eyJ.a.b".to_owned(),
            pid: 1,
            key_file: PathBuf::new(),
            kid: "dev".to_owned(),
            others: Vec::new(),
            parts: Parts::Embedded,
        };
        expect![[r#"
            ArqonBus is up: one process, nothing is stored, for this machine only.

              URL    ws://127.0.0.1:7320/v1/connect
              Admin  http://127.0.0.1:7321
              Token  eyJ.x.y
                     (tenant dev, user dev, every room, for 24 hours)

            Try, in other terminals:

              arq sub lobby --track '{"at":"desk"}'
              arq pub lobby '{"hello":"world"}'
              arq presence lobby
              arq rooms

            Ctrl-C ends it."#]]
        .assert_eq(&welcome(&bus, "arq", TITLE, "Ctrl-C ends it."));
        let other = DevBus { others: vec!["ws://127.0.0.1:7322/v1/connect".to_owned()], ..bus };
        let said = welcome(&other, "arq", "two", "`arq dev down` ends it.");
        assert!(said.starts_with("ArqonBus is up: two.") && said.ends_with("`arq dev down` ends it."));
        assert!(said.contains("\n  and    ws://127.0.0.1:7322/v1/connect\n"), "{said}");
    }

    #[test]
    fn a_taken_port_is_named_with_what_to_do() {
        let clients = SocketAddr::from((Ipv4Addr::LOCALHOST, 7320));
        let listen = |port, kind: ErrorKind| StartError::Listen {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            error: kind.into(),
        };
        let said = |error: &StartError| not_started(error, clients).to_string();
        expect!["port 7320 is taken by another program; try --port 0"]
            .assert_eq(&said(&listen(7320, ErrorKind::AddrInUse)));
        expect!["port 7321 is taken by another program; try --admin-port 0"]
            .assert_eq(&said(&listen(7321, ErrorKind::AddrInUse)));
        expect!["port 7320: permission denied; try --port 0"]
            .assert_eq(&said(&listen(7320, ErrorKind::PermissionDenied)));
    }

    #[test]
    fn the_configuration_of_a_dev_bus_is_valid() {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let key_file = temp.path().join("dev.key");
        std::fs::write(&key_file, new_secret().expect("randomness")).expect("written");
        let config = configure(0, 0, &key_file);
        config.validate().expect("a valid configuration");
        let keys = arqon_shield::auth::Keys::load(&config.auth, Path::new("")).expect("a usable key");
        assert_eq!(keys.len(), 1);
    }

    #[test]
    fn secrets_differ() {
        let (a, b) = (new_secret().expect("randomness"), new_secret().expect("randomness"));
        assert!(a.len() == 64 && a != b);
    }
}
