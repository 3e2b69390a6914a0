//! How clients come in: TLS, certificates that are exchanged, proxies in front.

#[path = "../shared/options.rs"]
mod options;
mod proxies;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use arqon_client::{Connection, TlsFiles, Trust, Wire};
use arqon_shield::config::{Algorithm, Config, KeyConfig};
use arqon_shield::server::{self, Running, StartError};
use options::{SECRET, options};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Far above what anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder beside a Shield, with an authority in it.
struct Beside {
    folder: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Beside {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let beside = Self { folder, authority };
        beside.write("secret", SECRET);
        beside.write("ca.crt", &beside.authority.pem());
        beside.certify("server", "127.0.0.1");
        beside
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.at(name), text).expect("a file");
    }

    /// Writes `name.crt` and `name.key`.
    fn certify(&self, name: &str, host: &str) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([host.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.authority).expect("signed");
        self.write(&format!("{name}.key"), &key.serialize_pem());
        self.write(&format!("{name}.crt"), &certificate.pem());
    }

    /// The configuration of a Shield with TLS.
    fn config(&self) -> Config {
        let mut config = Config::default();
        config.shield.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.shield.admin_listen = config.shield.listen;
        config.shield.shards = 1;
        config.drain.window = Duration::from_secs(5);
        config.auth.keys =
            vec![KeyConfig { kid: "test".to_owned(), alg: Algorithm::HS256, file: "secret".into() }];
        config.tls.cert_file = "server.crt".into();
        config.tls.key_file = "server.key".into();
        config
    }

    fn start(&self, config: Config) -> Result<Shield, StartError> {
        config.validate().expect("a config that can work");
        let verifier = server::verifier(&config, self.folder.path()).expect("a good key");
        let running = server::start(config, verifier, self.folder.path())?;
        Ok(Shield(Some(running)))
    }

    /// Whom a client believes that shows this certificate.
    fn trust(&self, identity: Option<&str>) -> Trust {
        let identity =
            identity.map(|name| (self.at(&format!("{name}.crt")), self.at(&format!("{name}.key"))));
        Trust::load(&TlsFiles { ca: Some(self.at("ca.crt")), identity }).expect("good files")
    }
}

/// Drains when it is dropped.
struct Shield(Option<Running>);

impl Drop for Shield {
    fn drop(&mut self) {
        if let Some(running) = self.0.take() {
            running.drain();
        }
    }
}

impl Shield {
    fn running(&self) -> &Running {
        self.0.as_ref().expect("it runs until it is dropped")
    }

    fn address(&self) -> SocketAddr {
        self.running().addresses().clients
    }

    async fn dial(&self, trust: &Trust) -> Wire {
        Wire::to(self.address(), Some((trust, "127.0.0.1"))).await.expect("TLS")
    }

    async fn client(&self, trust: &Trust, user: &str) -> Connection<Wire> {
        session(self.dial(trust).await, user).await
    }

    /// A page of the admin port.
    async fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.running().addresses().admin).await.expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: shield\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    }

    /// Waits until a page says something.
    async fn until(&self, path: &str, says: &str) {
        let said = async {
            while !self.get(path).await.contains(says) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, said).await.unwrap_or_else(|_| panic!("{path} never says {says}"));
    }

    /// Waits until so many upgrade requests had this result.
    async fn until_connects(&self, result: &str, count: u32) {
        self.until("/metrics", &format!("arqon_shield_connects_total{{result=\"{result}\"}} {count}\n"))
            .await;
    }
}

async fn session(stream: Wire, user: &str) -> Connection<Wire> {
    let mut client = Connection::open(stream, &options(user)).await.expect("an upgrade");
    client.connect().await.expect("a session");
    client
}
