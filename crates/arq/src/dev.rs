//! `arq dev up`: the whole bus in this process, with a key that lives as long as it.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use arqon_shield::config::{Algorithm, Config, KeyConfig};
use serde_json::json;

use crate::auth::{DEV_KID, dev_token};
use crate::cli::{DEV_ADMIN_PORT, DEV_PORT, Up};
use crate::failure::Failure;
use crate::machine::{self, Interrupts};
use crate::print::print_line;
use crate::runtime_file::{DevBus, RuntimeDir};

/// A working day and the night after it; a new start makes a new token.
const TOKEN_TTL: Duration = Duration::from_secs(24 * 3600);
/// Long enough for clients to be told, short enough for somebody who waits at a terminal.
const DRAIN_WINDOW: Duration = Duration::from_secs(5);

pub(crate) async fn up(args: &Up) -> Result<(), Failure> {
    let dir = RuntimeDir::of_user();
    let admin_port = args.admin_port.unwrap_or(if args.port == DEV_PORT { DEV_ADMIN_PORT } else { 0 });
    ensure_free(args.port, "--port 0")?;
    ensure_free(admin_port, "--admin-port 0")?;

    let secret = new_secret()?;
    let key_file = dir.write_key(secret.as_bytes())?;
    let bus = Embedded::start(configure(args.port, admin_port, &key_file)).inspect_err(|_| {
        dir.forget(std::process::id(), &key_file);
    })?;
    let found = DevBus {
        ws_url: format!("ws://{}/v1/connect", bus.ws),
        admin_url: format!("http://{}", bus.admin),
        token: dev_token(secret.as_bytes(), TOKEN_TTL)?,
        pid: std::process::id(),
        key_file,
        kid: DEV_KID.to_owned(),
    };
    dir.write(&found)?;
    // Before anything is printed: whoever reads the line may end this process at once.
    let mut interrupts = Interrupts::listen()?;
    let told = tell(&found, args.json);
    if told.is_ok() {
        interrupts.next().await;
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
struct Embedded {
    ws: SocketAddr,
    admin: SocketAddr,
}

impl Embedded {
    /// Starts a Shield on the memory spine with the presence model as a peer.
    fn start(config: Config) -> Result<Self, Failure> {
        let _ = config;
        Err(Failure::failed("the Shield is not built in yet"))
    }

    /// Tells the clients, waits for them to go, and ends. At once if there are none.
    async fn drain(self) {}
}

fn configure(port: u16, admin_port: u16, key_file: &Path) -> Config {
    let mut config = Config::default();
    config.shield.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    config.shield.admin_listen = SocketAddr::from((Ipv4Addr::LOCALHOST, admin_port));
    config.auth.keys =
        vec![KeyConfig { kid: DEV_KID.to_owned(), alg: Algorithm::HS256, file: key_file.to_owned() }];
    config.drain.window = DRAIN_WINDOW;
    config
}

/// Names a taken port. The Shield's own sockets share their port among its shards, and would with a second Shield too.
fn ensure_free(port: u16, instead: &str) -> Result<(), Failure> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            Err(Failure::failed(format!("port {port} is taken by another program; try {instead}")))
        }
        Err(error) => Err(Failure::failed(format!("port {port}: {error}; try {instead}"))),
    }
}

/// 256 random bits as hex: nothing in it that an editor or a shell would change.
fn new_secret() -> Result<String, Failure> {
    let mut secret = String::with_capacity(64);
    for _ in 0..4 {
        secret.push_str(&format!("{:016x}", machine::random()?));
    }
    Ok(secret)
}

fn tell(bus: &DevBus, json: bool) -> Result<(), Failure> {
    let text = if json {
        json!({ "ws_url": bus.ws_url, "admin_url": bus.admin_url, "token": bus.token }).to_string()
    } else {
        let program = std::env::args().next().unwrap_or_else(|| "arq".to_owned());
        welcome(bus, &program)
    };
    print_line(text.as_bytes())
}

fn welcome(bus: &DevBus, program: &str) -> String {
    let DevBus { ws_url, admin_url, token, .. } = bus;
    format!(
        "ArqonBus is up: one process, nothing is stored, for this machine only.

  URL    {ws_url}
  Admin  {admin_url}
  Token  {token}
         (tenant dev, user dev, every room, for 24 hours)

Try, in other terminals:

  {program} sub lobby --track '{{\"at\":\"desk\"}}'
  {program} pub lobby '{{\"hello\":\"world\"}}'
  {program} presence lobby

Ctrl-C ends it."
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
            pid: 1,
            key_file: PathBuf::new(),
            kid: "dev".to_owned(),
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

            Ctrl-C ends it."#]]
        .assert_eq(&welcome(&bus, "arq"));
    }

    #[test]
    fn a_taken_port_is_named_with_what_to_do() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("some port is free");
        let port = taken.local_addr().expect("it is bound").port();
        let failure = ensure_free(port, "--port 0").expect_err("it is taken");
        assert_eq!(failure.to_string(), format!("port {port} is taken by another program; try --port 0"));
        drop(taken);
        assert!(ensure_free(port, "--port 0").is_ok());
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
