//! The ways into a NATS server: nkey, credentials, TLS.

use std::path::{Path, PathBuf};
use std::time::Duration;

use arqon_shield::config::SpineConfig;
use arqon_shield::spine::{NatsError, NatsSettings, NatsSpine, Spine as _, SpineEvent};
use arqon_stack::{NatsOptions, NatsServer};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Client, config, server, spine_with};

/// How long a connection that may not come about is waited for.
const REFUSED_WITHIN: Duration = Duration::from_millis(500);

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn write(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    std::fs::write(folder.path().join(name), text).expect("written");
    PathBuf::from(name)
}

async fn is_let_in(config: &SpineConfig, base: &Path) -> bool {
    let mut spine: NatsSpine = spine_with(config, base, 16);
    let event = std::future::poll_fn(|cx| spine.poll_event(cx));
    let event = tokio::time::timeout(REFUSED_WITHIN, event).await;
    event.is_ok_and(|event| matches!(event, SpineEvent::Up { .. }))
}

#[tokio::test]
async fn an_nkey_lets_in() {
    let (known, unknown) = (KeyPair::new_user(), KeyPair::new_user());
    let server = server(&format!("authorization {{ users: [ {{ nkey: {} }} ] }}", known.public_key())).await;
    let folder = folder();
    // With the line end that an editor leaves.
    let seed = format!("{}\n", known.seed().expect("a seed"));
    let nkey_file = write(&folder, "known.nk", &seed);
    let good = SpineConfig { nkey_file, ..config(&server) };
    Client::up(&good, folder.path()).await.barrier_on("acme.test").await;
    let nkey_file = write(&folder, "unknown.nk", &unknown.seed().expect("a seed"));
    assert!(!is_let_in(&SpineConfig { nkey_file, ..config(&server) }, folder.path()).await);
    assert!(!is_let_in(&config(&server), folder.path()).await);
}

/// A JWT as nsc makes it.
fn jwt(subject: &KeyPair, issuer: &KeyPair, nats: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = encode(&json!({"typ": "JWT", "alg": "ed25519-nkey"}));
    let claims = encode(&json!({
        "jti": "test", "iat": 1, "iss": issuer.public_key(), "name": "test", "sub": subject.public_key(), "nats": nats,
    }));
    let signed = format!("{head}.{claims}");
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()).expect("a signature"));
    format!("{signed}.{signature}")
}

fn credentials(user: &KeyPair, account: &KeyPair) -> String {
    let claims =
        json!({"type": "user", "version": 2, "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1});
    let (token, seed) = (jwt(user, account, &claims), user.seed().expect("a seed"));
    format!(
        "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
}

#[tokio::test]
async fn credentials_let_in() {
    let (operator, account, user) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_user());
    let operator_jwt = jwt(&operator, &operator, &json!({"type": "operator", "version": 2}));
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
    });
    let account_jwt = jwt(&account, &operator, &json!({"type": "account", "version": 2, "limits": limits}));
    let server = server(&format!(
        "operator: {operator_jwt}\nresolver: MEMORY\nresolver_preload: {{ {}: {account_jwt} }}",
        account.public_key()
    ))
    .await;
    let folder = folder();
    let creds_file = write(&folder, "good.creds", &credentials(&user, &account));
    Client::up(&SpineConfig { creds_file, ..config(&server) }, folder.path())
        .await
        .barrier_on("acme.test")
        .await;
    let creds_file = write(&folder, "forged.creds", &credentials(&user, &KeyPair::new_account()));
    assert!(!is_let_in(&SpineConfig { creds_file, ..config(&server) }, folder.path()).await);
}

/// A server with TLS for 127.0.0.1, and an authority that has signed it and a client.
struct Tls {
    server: NatsServer,
    folder: TempDir,
}

impl Tls {
    async fn start(more: &str) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = || rcgen::KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(params, key()).expect("an authority");
        let folder = folder();
        write(&folder, "ca.crt", &authority.pem());
        for (name, host) in [("server", "127.0.0.1"), ("client", "shield")] {
            let key = key();
            let params = CertificateParams::new([host.to_owned()]).expect("a name");
            let certificate = params.signed_by(&key, &authority).expect("signed");
            write(&folder, &format!("{name}.crt"), &certificate.pem());
            write(&folder, &format!("{name}.key"), &key.serialize_pem());
        }
        let at = |name: &str| folder.path().join(name).display().to_string();
        let config = format!(
            "tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\" {more} }}",
            at("server.crt"),
            at("server.key"),
            at("ca.crt")
        );
        let options = NatsOptions { config, ..NatsOptions::default() };
        Self { server: NatsServer::start(&options).await.expect("a nats-server"), folder }
    }

    fn trusting(&self) -> SpineConfig {
        SpineConfig { tls_ca_file: PathBuf::from("ca.crt"), ..config(&self.server) }
    }
}

#[tokio::test]
async fn a_server_with_tls_is_trusted_by_its_authority_alone() {
    let tls = Tls::start("").await;
    let mut client = Client::up(&tls.trusting(), tls.folder.path()).await;
    client.publish("acme.other", &[7; 100_000]);
    client.barrier_on("acme.test").await;
    assert!(
        !is_let_in(&config(&tls.server), Path::new("")).await,
        "the system's authorities have not signed it"
    );
    let plain = server("").await;
    let required = SpineConfig { tls_required: true, ..config(&plain) };
    assert!(!is_let_in(&required, Path::new("")).await, "a server without TLS is refused");
}

#[tokio::test]
async fn a_server_may_ask_for_a_certificate() {
    let tls = Tls::start(", verify: true").await;
    let with = SpineConfig {
        tls_cert_file: PathBuf::from("client.crt"),
        tls_key_file: PathBuf::from("client.key"),
        ..tls.trusting()
    };
    Client::up(&with, tls.folder.path()).await.barrier_on("acme.test").await;
    assert!(!is_let_in(&tls.trusting(), tls.folder.path()).await);
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named_at_the_start() {
    let server = server("").await;
    let folder = folder();
    write(&folder, "junk", "not what it should be");
    let file = |name: &str| PathBuf::from(name);
    for (config, wanted) in [
        (SpineConfig { nkey_file: file("none"), ..config(&server) }, "spine.nkey_file: "),
        (SpineConfig { creds_file: file("junk"), ..config(&server) }, "spine.creds_file: "),
        (SpineConfig { tls_ca_file: file("none"), ..config(&server) }, "spine.tls_ca_file: "),
        (SpineConfig { servers: Vec::new(), ..config(&server) }, "spine.servers is empty"),
    ] {
        let error: NatsError = NatsSettings::new(&config, "test", folder.path()).expect_err("refused");
        assert!(error.to_string().starts_with(wanted), "{error}");
    }
}
