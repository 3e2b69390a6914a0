//! Tokens that open the door, and all those that must not.

use std::path::Path;
use std::time::Duration;

use arqon_proto::code::ErrorCode;
use arqon_proto::grant::{Admin, Identity};
use arqon_proto::id::RoomRef;
use arqon_proto::time::Now;
use arqon_shield::auth::sign::{Claims, Grant, SigningKey, sign};
use arqon_shield::auth::{AuthError, GRANTS_MAX, Key, KeyError, Keys, TOKEN_BYTES_MAX, Verifier};
use arqon_shield::config::{Algorithm, AuthConfig, KeyConfig};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

const SECRET: &[u8] = b"a secret of this test, 32 bytes or more";
const RSA_PUBLIC: &[u8] = include_bytes!("keys/rsa.pub.pem");
const EXP: u64 = 2_000_000_000;
const BEFORE: Now = Now { mono_ms: 0, wall_ms: EXP * 1000 - 60_000 };

const PAIRS: [(Algorithm, &[u8], &[u8]); 4] = [
    (Algorithm::HS256, SECRET, SECRET),
    (Algorithm::RS256, include_bytes!("keys/rsa.pem"), RSA_PUBLIC),
    (Algorithm::ES256, include_bytes!("keys/ec.pem"), include_bytes!("keys/ec.pub.pem")),
    (Algorithm::EdDSA, include_bytes!("keys/ed.pem"), include_bytes!("keys/ed.pub.pem")),
];

/// A verifier with one key per algorithm, whose kid is the name of the algorithm.
fn verifier() -> Verifier {
    let mut keys = Keys::default();
    for (algorithm, _, public) in PAIRS {
        keys.add(Key::new(algorithm.name(), algorithm, public).expect("a good key")).expect("a new kid");
    }
    Verifier::new(keys, "bus", Duration::ZERO, true)
}

fn only(algorithm: Algorithm, public: &[u8], require_kid: bool) -> Verifier {
    let mut keys = Keys::default();
    keys.add(Key::new("only", algorithm, public).expect("a good key")).expect("a new kid");
    Verifier::new(keys, "bus", Duration::ZERO, require_kid)
}

fn claims() -> Claims {
    Claims {
        tenant: "acme".to_owned(),
        sub: "ada".to_owned(),
        aud: "bus".to_owned(),
        exp: EXP,
        grants: vec![Grant::all("chat.*")],
        ..Claims::default()
    }
}

/// Signs any header and claims with the HS256 secret, as a sender with the key but without our library could.
fn forge(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encoded(header), encoded(claims));
    let key = jsonwebtoken::EncodingKey::from_secret(secret);
    let signature =
        jsonwebtoken::crypto::sign(signed.as_bytes(), &key, jsonwebtoken::Algorithm::HS256).expect("an hmac");
    format!("{signed}.{signature}")
}

fn hs256(claims: &Value) -> String {
    forge(&json!({"alg": "HS256", "kid": "HS256"}), claims, SECRET)
}

fn plain() -> Value {
    serde_json::to_value(claims()).expect("plain claims")
}

fn with(key: &str, value: Value) -> Value {
    let mut claims = plain();
    claims[key] = value;
    claims
}

fn refused(result: Result<Identity, AuthError>, code: ErrorCode, part: &str) {
    let error = result.expect_err("a token that is refused");
    assert_eq!(error.code, code, "{error}");
    assert!(error.message.contains(part), "{error} does not say {part:?}");
    assert!(!error.message.contains("ruin-the-log"), "{error} repeats what the token says");
}

fn unauthorized(token: &str, part: &str) {
    refused(verifier().verify(token, BEFORE), ErrorCode::Unauthorized, part);
}

#[test]
fn a_token_of_each_algorithm_becomes_an_identity() {
    for (algorithm, private, _) in PAIRS {
        let key = SigningKey::new(algorithm.name(), algorithm, private).expect("a good key");
        let token = sign(&Claims { jti: Some("t1".to_owned()), ..claims() }, &key).expect("a token");
        let identity = verifier().verify(&token, BEFORE).expect("a good token");
        assert_eq!((identity.tenant.as_str(), identity.user.as_str()), ("acme", "ada"));
        assert_eq!((identity.expires_wall_ms, identity.token_id.as_deref()), (EXP * 1000, Some("t1")));
    }
}

#[test]
fn the_claim_admin_is_one_of_two_words_or_absent() {
    let admin = |value: Value| verifier().verify(&hs256(&with("admin", value)), BEFORE);
    assert_eq!(admin(json!("tenant")).expect("a good token").admin, Admin::Tenant);
    assert_eq!(admin(json!("bus")).expect("a good token").admin, Admin::Bus);
    assert_eq!(admin(json!(null)).expect("a good token").admin, Admin::None);
    let token = hs256(&plain());
    assert_eq!(verifier().verify(&token, BEFORE).expect("a good token").admin, Admin::None);
    for other in [json!("root"), json!("Bus"), json!(true), json!(["bus"])] {
        refused(admin(other), ErrorCode::Unauthorized, "wrong type or value");
    }
}

#[test]
fn grants_cover_their_rooms_and_no_other() {
    let two = json!([{"rooms": "chat.*", "can": ["subscribe"]}, {"rooms": "chat.a", "can": ["publish", "presence"]}]);
    let identity = verifier().verify(&hs256(&with("grants", two)), BEFORE).expect("a good token");
    let can = |room| {
        let actions = identity.actions(RoomRef::parse(room).expect("a room"));
        (actions.subscribe, actions.publish, actions.presence)
    };
    assert_eq!(can("chat.a"), (true, true, true));
    assert_eq!(can("chat.b"), (true, false, false));
    assert_eq!(can("other.a"), (false, false, false));
}

#[test]
fn another_tenants_room_is_out_of_reach() {
    // Rooms have no tenant in them: the tenant of the subject is that of the token, whatever a grant says.
    let all = json!([{"rooms": ">", "can": ["subscribe", "publish", "presence"]}]);
    let identity = verifier().verify(&hs256(&with("grants", all)), BEFORE).expect("a good token");
    let subject =
        arqon_proto::id::Subject::new(&identity.tenant, RoomRef::parse("globex.lobby").expect("a room"));
    assert_eq!(subject.as_str(), "acme.globex.lobby");
    let own = json!([{"rooms": "acme-lobby", "can": ["subscribe"]}]);
    let identity = verifier().verify(&hs256(&with("grants", own)), BEFORE).expect("a good token");
    assert!(!identity.actions(RoomRef::parse("globex-lobby").expect("a room")).subscribe);
    unauthorized(&hs256(&with("tenant", json!("_arqon"))), "tenant");
    unauthorized(&hs256(&with("tenant", json!("acme.x"))), "tenant");
    unauthorized(&hs256(&with("grants", json!([{"rooms": "a..b", "can": []}]))), "room");
}

#[test]
fn a_token_without_a_signature_is_refused() {
    for alg in ["none", "None", "NONE", ""] {
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": alg, "kid": "HS256"}).to_string());
        let payload = URL_SAFE_NO_PAD.encode(plain().to_string());
        unauthorized(&format!("{header}.{payload}."), "does not name HS256");
    }
    let token = hs256(&plain());
    let unsigned = token.rsplit_once('.').expect("three parts").0;
    unauthorized(&format!("{unsigned}."), "signature");
}

#[test]
fn a_public_key_is_no_hmac_secret() {
    for (header, part) in [
        (json!({"alg": "HS256", "kid": "RS256"}), "does not name RS256"),
        (json!({"alg": "RS256", "kid": "RS256"}), "signature"),
    ] {
        unauthorized(&forge(&header, &plain(), RSA_PUBLIC), part);
    }
    let lone = only(Algorithm::RS256, RSA_PUBLIC, false);
    let token = forge(&json!({"alg": "HS256"}), &plain(), RSA_PUBLIC);
    refused(lone.verify(&token, BEFORE), ErrorCode::Unauthorized, "does not name RS256");
    assert!(Key::new("k", Algorithm::HS256, RSA_PUBLIC).is_err(), "nor may it be configured as one");
}

#[test]
fn a_key_is_used_with_its_own_algorithm_only() {
    let key = SigningKey::new("ES256", Algorithm::RS256, PAIRS[1].1).expect("a good key");
    unauthorized(&sign(&claims(), &key).expect("a token"), "does not name ES256");
    unauthorized(&forge(&json!({"alg": "HS512", "kid": "HS256"}), &plain(), SECRET), "does not name HS256");
}

#[test]
fn the_key_must_be_named_and_known() {
    unauthorized(&forge(&json!({"alg": "HS256"}), &plain(), SECRET), "required");
    unauthorized(&forge(&json!({"alg": "HS256", "kid": "gone"}), &plain(), SECRET), "unknown");
    unauthorized(&forge(&json!({"alg": "HS256", "kid": "HS256", "crit": ["b64"]}), &plain(), SECRET), "crit");
    let nameless = forge(&json!({"alg": "HS256"}), &plain(), SECRET);
    assert!(only(Algorithm::HS256, SECRET, false).verify(&nameless, BEFORE).is_ok());
    refused(
        only(Algorithm::HS256, SECRET, true).verify(&nameless, BEFORE),
        ErrorCode::Unauthorized,
        "required",
    );
    let mut two = Keys::default();
    two.add(Key::new("a", Algorithm::HS256, SECRET).expect("a key")).expect("a new kid");
    two.add(Key::new("b", Algorithm::HS256, &[b'x'; 40]).expect("a key")).expect("a new kid");
    let several = Verifier::new(two, "bus", Duration::ZERO, false);
    refused(several.verify(&nameless, BEFORE), ErrorCode::Unauthorized, "not exactly one");
}

#[test]
fn a_changed_token_is_refused() {
    let other = forge(
        &json!({"alg": "HS256", "kid": "HS256"}),
        &plain(),
        b"another secret, also of 32 bytes or more",
    );
    unauthorized(&other, "signature");
    let token = hs256(&plain());
    let parts: Vec<&str> = token.split('.').collect();
    let raised = URL_SAFE_NO_PAD.encode(with("tenant", json!("globex")).to_string());
    unauthorized(&format!("{}.{raised}.{}", parts[0], parts[2]), "signature");
    for at in (0..token.len()).filter(|at| token.as_bytes()[*at] != b'.') {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).expect("ascii");
        assert!(verifier().verify(&changed, BEFORE).is_err(), "byte {at}");
    }
}

#[test]
fn garbage_is_refused_without_a_panic() {
    let b64 = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let deep = format!("{}.e30.AA", b64(&"[".repeat(4000)));
    let header = b64("{\"alg\":\"HS256\",\"kid\":\"HS256\"}");
    for (token, part) in [
        (String::new(), "three parts"),
        ("a.b".to_owned(), "three parts"),
        ("a.b.c.d".to_owned(), "three parts"),
        ("..".to_owned(), "header"),
        ("é.é.é".to_owned(), "base64url"),
        ("e30.e30.AA".to_owned(), "header"),
        (format!("{}.e30.AA", b64("{\"alg\":5}")), "header"),
        (deep, "header"),
        (format!("{header}.e30.!!"), "signature"),
        ("a".repeat(TOKEN_BYTES_MAX + 1), "longer than 8192 bytes"),
    ] {
        unauthorized(&token, part);
    }
    unauthorized(&hs256(&json!([1, 2])), "claims");
    unauthorized(&hs256(&json!({})), "missing field");
}

#[test]
fn claims_that_break_a_rule_are_refused() {
    for (key, value, part) in [
        ("aud", json!("other"), "aud"),
        ("aud", json!(["other", "bus2"]), "aud"),
        ("aud", json!([]), "aud"),
        ("aud", Value::Null, "aud"),
        ("exp", Value::Null, "claims"),
        ("exp", json!("2000000000"), "claims"),
        ("exp", json!(-1), "1970"),
        ("sub", json!(""), "user"),
        ("sub", json!("a\nb"), "user"),
        ("sub", json!("x".repeat(129)), "user"),
        ("grants", json!([{"rooms": "a", "can": ["ruin-the-log"]}]), "claims"),
        ("grants", json!(vec![json!({"rooms": "a", "can": []}); GRANTS_MAX + 1]), "64 grants"),
    ] {
        unauthorized(&hs256(&with(key, value)), part);
    }
    let mut without = plain();
    without.as_object_mut().expect("an object").remove("exp");
    unauthorized(&hs256(&without), "missing field `exp`");
    let mut without = plain();
    without.as_object_mut().expect("an object").remove("aud");
    unauthorized(&hs256(&without), "aud");
    assert!(verifier().verify(&hs256(&with("aud", json!(["x", "bus"]))), BEFORE).is_ok());
    assert!(
        verifier().verify(&hs256(&with("iss", json!("anyone"))), BEFORE).is_ok(),
        "other claims are ignored"
    );
}

#[test]
fn a_token_ends_exactly_at_its_millisecond() {
    let at = |wall_ms| Now { mono_ms: 0, wall_ms };
    let token = hs256(&plain());
    assert!(verifier().verify(&token, at(EXP * 1000 - 1)).is_ok());
    refused(verifier().verify(&token, at(EXP * 1000)), ErrorCode::TokenExpired, "expired");
    let fraction = hs256(&with("exp", json!(2_000_000_000.25)));
    assert!(verifier().verify(&fraction, at(EXP * 1000 + 249)).is_ok());
    refused(verifier().verify(&fraction, at(EXP * 1000 + 250)), ErrorCode::TokenExpired, "expired");
    let forever = hs256(&with("exp", json!(u64::MAX)));
    assert!(verifier().verify(&forever, at(u64::MAX - 1)).is_ok());
    let mut keys = Keys::default();
    keys.add(Key::new("HS256", Algorithm::HS256, SECRET).expect("a key")).expect("a new kid");
    let lenient = Verifier::new(keys, "bus", Duration::from_secs(60), true);
    refused(lenient.verify(&token, at(EXP * 1000)), ErrorCode::TokenExpired, "expired");
}

#[test]
fn a_token_begins_exactly_at_its_millisecond_less_the_leeway() {
    let token = hs256(&with("nbf", json!(EXP - 100)));
    let begin = (EXP - 100) * 1000;
    let at = |wall_ms| Now { mono_ms: 0, wall_ms };
    assert!(verifier().verify(&token, at(begin)).is_ok());
    refused(verifier().verify(&token, at(begin - 1)), ErrorCode::TokenExpired, "not valid yet");
    let mut keys = Keys::default();
    keys.add(Key::new("HS256", Algorithm::HS256, SECRET).expect("a key")).expect("a new kid");
    let lenient = Verifier::new(keys, "bus", Duration::from_secs(5), true);
    assert!(lenient.verify(&token, at(begin - 5000)).is_ok());
    refused(lenient.verify(&token, at(begin - 5001)), ErrorCode::TokenExpired, "not valid yet");
}

fn load(alg: Algorithm, file: &str) -> Result<Keys, KeyError> {
    let keys = vec![KeyConfig { kid: "k".to_owned(), alg, file: file.into() }];
    Keys::load(
        &AuthConfig { keys, ..AuthConfig::default() },
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys"),
    )
}

#[test]
fn keys_are_read_and_proven_at_the_start() {
    for (alg, good) in [
        (Algorithm::RS256, "rsa.pub.pem"),
        (Algorithm::ES256, "ec.pub.pem"),
        (Algorithm::EdDSA, "ed.pub.pem"),
    ] {
        assert_eq!(load(alg, good).expect("a good key").len(), 1);
    }
    for (alg, bad, part) in [
        (Algorithm::RS256, "gone.pem", "gone.pem"),
        (Algorithm::RS256, "rsa.pem", "expected the public key of RS256"),
        (Algorithm::RS256, "ec.pub.pem", "expected the public key of RS256"),
        (Algorithm::ES256, "ed.pub.pem", "expected the public key of ES256"),
        (Algorithm::EdDSA, "ed.pem", "expected the public key of EdDSA"),
        (Algorithm::RS256, "rsa1024.pub.pem", "at least 2048 bits"),
        (Algorithm::HS256, "rsa.pub.pem", "no PEM file"),
        (Algorithm::HS256, "short.secret", "at least 32 bytes, this one has 31"),
    ] {
        let error = load(alg, bad).expect_err("a key that is refused").to_string();
        assert!(error.contains(part) && error.contains(bad), "{error}");
    }
    let none = Keys::load(&AuthConfig::default(), Path::new(".")).expect_err("no keys");
    assert!(none.to_string().contains("[[auth.keys]]"));
}

#[test]
fn one_newline_at_the_end_of_a_secret_is_no_part_of_it() {
    let with_newline = [SECRET, b"\n"].concat();
    let token = forge(&json!({"alg": "HS256", "kid": "only"}), &plain(), SECRET);
    assert!(only(Algorithm::HS256, &with_newline, true).verify(&token, BEFORE).is_ok());
}

#[test]
fn keys_are_not_printed() {
    let shown =
        format!("{:?} {:?}", verifier(), SigningKey::new("k", Algorithm::HS256, SECRET).expect("a key"));
    assert!(
        shown.contains("HS256") && !shown.contains("secret of this") && !shown.contains("97, 32, 115"),
        "{shown}"
    );
}
