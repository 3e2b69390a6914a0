//! JWK Sets: what is taken, what is passed over, and what makes a whole document useless. And every token that must not open the door, with its
//! code, while keys are exchanged.

use std::time::Duration;

use arqon_proto::code::ErrorCode;
use arqon_proto::time::Now;
use arqon_shield::auth::sign::{Claims, SigningKey, sign};
use arqon_shield::auth::{JWKS_BYTES_MAX, JWKS_KEYS_MAX, JwksError, Key, Keys, Verifier, parse_jwks};
use arqon_shield::config::Algorithm;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

const RSA: &[u8] = include_bytes!("keys/rsa.pem");
const RSA_PUBLIC: &[u8] = include_bytes!("keys/rsa.pub.pem");
const EXP: u64 = 2_000_000_000;
const NOW: Now = Now { mono_ms: 0, wall_ms: EXP * 1000 - 60_000 };

const PAIRS: [(Algorithm, &[u8]); 4] = [
    (Algorithm::RS256, RSA),
    (Algorithm::ES256, include_bytes!("keys/ec.pem")),
    (Algorithm::ES384, include_bytes!("keys/ec384.pem")),
    (Algorithm::EdDSA, include_bytes!("keys/ed.pem")),
];

fn signer(kid: &str, algorithm: Algorithm) -> SigningKey {
    let (_, private) = PAIRS.into_iter().find(|(known, _)| *known == algorithm).expect("a pair");
    SigningKey::new(kid, algorithm, private).expect("a good key")
}

fn jwk(kid: &str, algorithm: Algorithm) -> Value {
    signer(kid, algorithm).jwk().expect("a public half")
}

fn with(mut jwk: Value, key: &str, value: Value) -> Value {
    jwk[key] = value;
    jwk
}

fn set(keys: &[Value]) -> Vec<u8> {
    json!({ "keys": keys }).to_string().into_bytes()
}

fn claims() -> Claims {
    let (tenant, sub, aud) = ("acme".to_owned(), "ada".to_owned(), "bus".to_owned());
    Claims { tenant, sub, aud, exp: EXP, ..Claims::default() }
}

fn verifier(keys: Keys) -> Verifier {
    Verifier::new(keys, "bus", Duration::ZERO, true)
}

#[test]
fn a_key_of_each_kind_verifies_what_it_has_signed_and_nothing_else() {
    let all: Vec<Value> = PAIRS.iter().map(|(algorithm, _)| jwk(algorithm.name(), *algorithm)).collect();
    let verifier = verifier(parse_jwks(&set(&all)).expect("a good set"));
    for (algorithm, _) in PAIRS {
        let token = sign(&claims(), &signer(algorithm.name(), algorithm)).expect("a token");
        assert!(verifier.verify(&token, NOW).is_ok(), "{algorithm:?}");
        let (signed, signature) = token.rsplit_once('.').expect("three parts");
        let bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
        let other: Vec<u8> = bytes.iter().enumerate().map(|(i, byte)| byte ^ u8::from(i == 40)).collect();
        let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(other));
        let error = verifier.verify(&forged, NOW).expect_err("a wrong signature");
        assert_eq!(error.code, ErrorCode::Unauthorized, "{algorithm:?}");
    }
}

#[test]
fn a_key_in_a_file_may_be_one_of_p384() {
    let public: &[u8] = include_bytes!("keys/ec384.pub.pem");
    let mut keys = Keys::default();
    keys.add(Key::new("k", Algorithm::ES384, public).expect("a good key")).expect("the first");
    let token = sign(&claims(), &signer("k", Algorithm::ES384)).expect("a token");
    assert!(verifier(keys).verify(&token, NOW).is_ok());
    assert!(Key::new("k", Algorithm::ES256, public).is_err());
    assert!(Key::new("k", Algorithm::ES384, include_bytes!("keys/ec.pub.pem")).is_err());
}

#[test]
fn what_is_meant_for_something_else_is_passed_over() {
    let good = jwk("good", Algorithm::EdDSA);
    for other in [
        with(jwk("x", Algorithm::RS256), "use", json!("enc")),
        with(jwk("x", Algorithm::RS256), "alg", json!("PS256")),
        with(jwk("x", Algorithm::ES256), "alg", json!("ES384")),
        with(jwk("x", Algorithm::ES256), "crv", json!("P-521")),
        with(jwk("x", Algorithm::EdDSA), "crv", json!("X25519")),
        with(jwk("x", Algorithm::EdDSA), "key_ops", json!(["sign"])),
        json!({"kty": "AKP", "kid": "x", "alg": "ML-DSA-44", "pub": "AA"}),
        json!({"kid": "x"}),
        json!("x"),
    ] {
        let keys = parse_jwks(&set(&[other.clone(), good.clone()])).expect("one good key");
        assert_eq!(keys.len(), 1, "{other}");
        assert_eq!(parse_jwks(&set(std::slice::from_ref(&other))).expect_err("nothing"), JwksError::Empty);
    }
    let verifies = with(jwk("x", Algorithm::EdDSA), "key_ops", json!(["verify"]));
    assert_eq!(parse_jwks(&set(&[with(verifies, "alg", json!("Ed25519"))])).expect("a key").len(), 1);
}

#[test]
fn one_bad_key_makes_the_whole_document_useless() {
    let good = jwk("good", Algorithm::EdDSA);
    let x = || "x".to_owned();
    let mut nameless = good.clone();
    nameless.as_object_mut().expect("an object").remove("kid");
    let long_for_p256 = with(with(jwk("x", Algorithm::ES384), "crv", json!("P-256")), "alg", json!("ES256"));
    for (bad, why) in [
        (
            json!({"kty": "oct", "kid": "x", "k": "AAAA", "use": "sig", "alg": "HS256"}),
            JwksError::Secret(x()),
        ),
        (json!({"kty": "oct", "kid": "x", "k": "AAAA", "use": "enc"}), JwksError::Secret(x())),
        (with(jwk("x", Algorithm::EdDSA), "d", json!("AAAA")), JwksError::Private(x())),
        (nameless, JwksError::Nameless(2)),
        (with(good.clone(), "kid", json!("")), JwksError::Nameless(2)),
        (with(good.clone(), "kid", json!("k".repeat(257))), JwksError::Nameless(2)),
        (good.clone(), JwksError::Twice("good".to_owned())),
        (with(jwk("x", Algorithm::EdDSA), "x", json!("AAAA")), JwksError::Unfit(x(), Algorithm::EdDSA)),
        (with(jwk("x", Algorithm::ES256), "y", json!("AAAA")), JwksError::Unfit(x(), Algorithm::ES256)),
        (long_for_p256, JwksError::Unfit(x(), Algorithm::ES256)),
        (with(jwk("x", Algorithm::RS256), "n", json!("!!")), JwksError::Unfit(x(), Algorithm::RS256)),
        (with(jwk("x", Algorithm::RS256), "e", json!(3)), JwksError::Unfit(x(), Algorithm::RS256)),
        (with(jwk("x", Algorithm::RS256), "n", json!("v".repeat(168))), JwksError::ShortRsa(x())),
    ] {
        assert_eq!(parse_jwks(&set(&[good.clone(), bad])).expect_err("a bad key"), why);
    }
}

#[test]
fn a_document_has_its_bounds() {
    for text in ["", "[]", "{}", "{\"keys\":{}}", "<html>"] {
        assert_eq!(parse_jwks(text.as_bytes()).expect_err("no set"), JwksError::NotASet, "{text}");
    }
    assert_eq!(parse_jwks(&vec![b' '; JWKS_BYTES_MAX + 1]).expect_err("too long"), JwksError::TooLong);
    let key = |n: usize| jwk(&n.to_string(), Algorithm::EdDSA);
    let many: Vec<Value> = (0..=JWKS_KEYS_MAX).map(key).collect();
    assert_eq!(parse_jwks(&set(&many)).expect_err("too many"), JwksError::TooMany);
    assert_eq!(parse_jwks(&set(&many[1..])).expect("just enough").len(), JWKS_KEYS_MAX);
}

/// Signs with HMAC, whatever the header says.
fn hmac(header: &Value, secret: &[u8]) -> String {
    let encoded = |text: String| URL_SAFE_NO_PAD.encode(text);
    let payload = serde_json::to_string(&claims()).expect("plain claims");
    let signed = format!("{}.{}", encoded(header.to_string()), encoded(payload));
    let key = jsonwebtoken::EncodingKey::from_secret(secret);
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, jsonwebtoken::Algorithm::HS256);
    format!("{signed}.{}", signature.expect("an hmac"))
}

#[test]
fn each_wrong_token_has_its_code() {
    let verifier = verifier(parse_jwks(&set(&[jwk("old", Algorithm::RS256)])).expect("a good set"));
    let by_old = |claims: &Claims| sign(claims, &signer("old", Algorithm::RS256)).expect("a token");
    let good = by_old(&claims());
    let unsigned = {
        let (_, payload) = good.split_once('.').expect("three parts");
        let (payload, _) = payload.split_once('.').expect("three parts");
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": "none", "kid": "old"}).to_string());
        format!("{header}.{payload}.")
    };
    let new = sign(&claims(), &signer("new", Algorithm::EdDSA)).expect("a token");
    let ends = |exp: u64| by_old(&Claims { exp, ..claims() });
    assert!(verifier.verify(&good, NOW).is_ok());
    for (case, token, code) in [
        ("expired", ends(EXP - 60), ErrorCode::TokenExpired),
        ("not yet valid", by_old(&Claims { nbf: Some(EXP - 59), ..claims() }), ErrorCode::TokenExpired),
        ("wrong audience", by_old(&Claims { aud: "other".to_owned(), ..claims() }), ErrorCode::Unauthorized),
        ("alg none", unsigned, ErrorCode::Unauthorized),
        (
            "HS256 with the public key",
            hmac(&json!({"alg": "HS256", "kid": "old"}), RSA_PUBLIC),
            ErrorCode::Unauthorized,
        ),
        (
            "RS256 by name, HMAC by deed",
            hmac(&json!({"alg": "RS256", "kid": "old"}), RSA_PUBLIC),
            ErrorCode::Unauthorized,
        ),
        ("unknown kid", new.clone(), ErrorCode::Unauthorized),
        ("no kid", hmac(&json!({"alg": "RS256"}), RSA_PUBLIC), ErrorCode::Unauthorized),
    ] {
        let error = verifier.verify(&token, NOW).expect_err(case);
        assert_eq!(error.code, code, "{case}: {error}");
    }
    let both = [jwk("old", Algorithm::RS256), jwk("new", Algorithm::EdDSA)];
    verifier.exchange(parse_jwks(&set(&both)).expect("a good set"));
    assert!(verifier.verify(&good, NOW).is_ok() && verifier.verify(&new, NOW).is_ok(), "the overlap");
    verifier.exchange(parse_jwks(&set(&both[1..])).expect("a good set"));
    assert!(verifier.verify(&new, NOW).is_ok());
    let error = verifier.verify(&good, NOW).expect_err("key rotated out");
    assert_eq!(error.code, ErrorCode::Unauthorized, "{error}");
}
