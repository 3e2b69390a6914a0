//! Keys are exchanged while clients are connected.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use arqon_client::{Connection, Options, RequestError};
use arqon_proto::code::{CloseCode, ErrorCode};
use arqon_proto::message::Encoding;
use arqon_shield::auth::keeper::{KeySource, Reading, keep};
use arqon_shield::auth::rotation::Source;
use arqon_shield::auth::sign::{SigningKey, sign};
use arqon_shield::auth::{Key, Keys};
use arqon_shield::config::{Algorithm, Config};
use arqon_shield::env::SystemEntropy;
use arqon_shield::metrics::{Counter, KeyRead};

use crate::harness::{self, Bus, SECRET, claims, in_local_set, is_refused_with, token};

const NEW: &[u8] = b"another secret, which comes with the rotation";
const INTERVAL: Duration = Duration::from_secs(60);

/// What stands for files: each reading gives what is there at that moment.
#[derive(Clone)]
struct Shelf(Rc<RefCell<Shelved>>);

struct Shelved {
    keys: Result<Keys, String>,
    readings: u32,
    /// A reading never ends.
    hangs: bool,
}

impl KeySource for Shelf {
    fn read(&mut self, source: Source) -> Reading {
        assert_eq!(source, Source::Files);
        let mut shelved = self.0.borrow_mut();
        shelved.readings += 1;
        if shelved.hangs {
            return Box::pin(std::future::pending());
        }
        Box::pin(std::future::ready(shelved.keys.clone()))
    }
}

impl Shelf {
    fn put(&self, keys: Result<Keys, String>) {
        self.0.borrow_mut().keys = keys;
    }

    fn readings(&self) -> u32 {
        self.0.borrow().readings
    }
}

fn keys(of: &[(&str, &[u8])]) -> Keys {
    let mut keys = Keys::default();
    for (kid, secret) in of {
        keys.add(Key::new(kid, Algorithm::HS256, secret).expect("a good key")).expect("a new kid");
    }
    keys
}

fn new_token(user: &str) -> String {
    let key = SigningKey::new("new", Algorithm::HS256, NEW).expect("a good key");
    sign(&claims(user), &key).expect("good claims")
}

fn config() -> Config {
    let mut config = harness::config();
    // Clients of these tests are silent for longer.
    config.limits.ping_interval = Duration::from_secs(3600);
    // Only its presence counts: the shelf stands for it.
    config.auth.jwks_file = "keys.json".into();
    config
}

/// A Shield whose keys are kept from a shelf with the harness's own key on it.
fn kept() -> (Bus, Shelf) {
    let bus = Bus::start(config());
    let old = Ok(keys(&[("test", SECRET)]));
    let shelf = Shelf(Rc::new(RefCell::new(Shelved { keys: old, readings: 0, hangs: false })));
    tokio::task::spawn_local(keep(bus.control.clone(), shelf.clone(), Box::new(SystemEntropy)));
    (bus, shelf)
}

/// What becomes of a connect with this token.
async fn comes(bus: &Bus, token: &str) -> Result<(), RequestError> {
    let options = Options::new("bus").with_token(token).with_encoding(Encoding::Json);
    let mut client = Connection::open(bus.stream(), &options).await.expect("an upgrade");
    client.connect().await.map(drop)
}

fn closed_with(result: Result<(), RequestError>) -> Option<u16> {
    match result.expect_err("it is refused") {
        RequestError::Closed(closed) => Some(closed.code),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_dropped_new_tokens_are_let_in_and_old_ones_refused_at_the_end() {
    in_local_set(async {
        let (bus, shelf) = kept();
        let mut client = bus.client("ada", Encoding::Json).await;
        shelf.put(Ok(keys(&[("test", SECRET), ("new", NEW)])));
        tokio::time::sleep(INTERVAL).await;
        comes(&bus, &new_token("bob")).await.expect("the new key counts");
        comes(&bus, &token("cid")).await.expect("the old one too");
        shelf.put(Ok(keys(&[("new", NEW)])));
        tokio::time::sleep(INTERVAL).await;
        let unauthorized = Some(CloseCode::Unauthorized.number());
        assert_eq!(closed_with(comes(&bus, &token("cid")).await), unauthorized);
        client.ping().await.expect("who is connected stays connected");
        let refused = client.refresh(&token("ada")).await.expect_err("the old key is gone");
        assert!(is_refused_with(&refused, &[ErrorCode::Unauthorized]), "{refused}");
        let changed = client.refresh(&new_token("eve")).await.expect_err("another user");
        assert!(is_refused_with(&changed, &[ErrorCode::IdentityChanged]), "{changed}");
        client.refresh(&new_token("ada")).await.expect("a token of the new key");
        let read = |what| bus.control.status().metrics().counter(Counter::KeyReads(what));
        assert_eq!((read(KeyRead::Exchanged), read(KeyRead::Refused)), (2, 0));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_bad_source_replaces_nothing_and_degrades() {
    in_local_set(async {
        let (bus, shelf) = kept();
        shelf.put(Err("no JWK Set".to_owned()));
        tokio::time::sleep(INTERVAL).await;
        comes(&bus, &token("ada")).await.expect("the keys that were there");
        let check = || bus.control.status().readiness().checks.into_iter().find(|check| check.name == "keys");
        let keys_check = check().expect("there is one");
        assert_eq!(
            (keys_check.ok, keys_check.optional, keys_check.reason.as_str()),
            (false, true, "no JWK Set")
        );
        let read = |what| bus.control.status().metrics().counter(Counter::KeyReads(what));
        assert!(read(KeyRead::Refused) > 0 && read(KeyRead::Exchanged) == 0);
        shelf.0.borrow_mut().hangs = true;
        tokio::time::sleep(INTERVAL).await;
        let reason = check().expect("there is one").reason;
        assert!(reason.contains("within 5000 ms"), "{reason}");
        shelf.0.borrow_mut().hangs = false;
        shelf.put(Ok(keys(&[("test", SECRET)])));
        tokio::time::sleep(INTERVAL).await;
        assert!(check().expect("there is one").ok);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_is_looked_for_at_once_and_not_by_every_stranger() {
    in_local_set(async {
        let (bus, shelf) = kept();
        tokio::time::sleep(Duration::from_secs(20)).await;
        shelf.put(Ok(keys(&[("test", SECRET), ("new", NEW)])));
        assert!(comes(&bus, &new_token("bob")).await.is_err(), "it is not known yet");
        tokio::time::sleep(Duration::from_millis(1)).await;
        comes(&bus, &new_token("bob")).await.expect("it was looked for");
        shelf.put(Ok(keys(&[("test", SECRET)])));
        tokio::time::sleep(INTERVAL).await;
        let before = shelf.readings();
        for _ in 0..50 {
            assert!(comes(&bus, &new_token("bob")).await.is_err());
        }
        assert!(shelf.readings() <= before + 1, "{} readings", shelf.readings() - before);
    })
    .await;
}
