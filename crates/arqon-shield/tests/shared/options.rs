//! How the clients of tests introduce themselves to a Shield whose key `test` is [`SECRET`].

use arqon_client::Options;
use arqon_shield::auth::sign::{Claims, Grant, SigningKey, sign};
use arqon_shield::config::Algorithm;

pub(crate) const SECRET: &str = "a secret of these tests alone, long enough for HS256";

/// As a user of `acme` who may do everything.
pub(crate) fn options(user: &str) -> Options {
    let claims = Claims {
        tenant: "acme".to_owned(),
        sub: user.to_owned(),
        aud: "arqon".to_owned(),
        exp: 4_000_000_000,
        grants: vec![Grant::all(">")],
        ..Claims::default()
    };
    let key = SigningKey::new("test", Algorithm::HS256, SECRET.as_bytes()).expect("a good key");
    Options::new("shield").with_token(sign(&claims, &key).expect("good claims"))
}
