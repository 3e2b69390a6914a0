//! `arq auth`, and the token that `arq dev up` hands out.

use std::path::Path;
use std::time::Duration;

use arqon_shield::auth::sign::{Claims, Grant, SigningKey, sign};
use arqon_shield::config::Algorithm;

use crate::cli::{Action, AdminScope, Gen};
use crate::failure::{Exit, Failure};
use crate::machine;
use crate::print::print_line;
use crate::runtime_file::RuntimeDir;

/// The name of the key that `arq dev up` makes.
pub(crate) const DEV_KID: &str = "dev";
/// The default of `auth.audience`.
pub(crate) const AUDIENCE: &str = "arqon";

pub(crate) fn generate(args: &Gen) -> Result<(), Failure> {
    let key = match (&args.key, &args.kid) {
        (Some(file), Some(kid)) => read_key(kid, args.alg, file)?,
        _ => {
            let bus = RuntimeDir::of_user().read()?.ok_or_else(no_key)?;
            read_key(&bus.kid, Algorithm::HS256, &bus.key_file)?
        }
    };
    let token = sign(&claims(args, machine::unix_seconds()), &key);
    print_line(token.map_err(|error| Failure::failed(error.to_string()))?.as_bytes())
}

/// A token for every room of the dev bus.
pub(crate) fn dev_token(secret: &[u8], ttl: Duration) -> Result<String, Failure> {
    dev_claims(secret, Claims { grants: vec![Grant::all(">")], ..Claims::default() }, ttl)
}

/// A token for its server API, and for nothing else.
pub(crate) fn dev_admin_token(secret: &[u8], ttl: Duration) -> Result<String, Failure> {
    let admin = Some(AdminScope::Bus.name().to_owned());
    // Another user, so that kicking or revoking `dev` does not lock its operator out.
    dev_claims(secret, Claims { sub: "admin".to_owned(), admin, ..Claims::default() }, ttl)
}

fn dev_claims(secret: &[u8], claims: Claims, ttl: Duration) -> Result<String, Failure> {
    let now = machine::unix_seconds();
    let sub = if claims.sub.is_empty() { "dev".to_owned() } else { claims.sub };
    let claims = Claims {
        tenant: "dev".to_owned(),
        sub,
        aud: AUDIENCE.to_owned(),
        iat: Some(now),
        exp: now.saturating_add(ttl.as_secs()),
        ..claims
    };
    let key = SigningKey::new(DEV_KID, Algorithm::HS256, secret);
    key.and_then(|key| sign(&claims, &key)).map_err(|error| Failure::failed(error.to_string()))
}

fn claims(args: &Gen, now: u64) -> Claims {
    let can: Vec<String> = args.can.iter().map(|action: &Action| action.name().to_owned()).collect();
    let grant = |pattern: &arqon_proto::grant::Pattern| Grant {
        rooms: pattern.as_str().to_owned(),
        can: can.clone(),
    };
    Claims {
        tenant: args.tenant.as_str().to_owned(),
        sub: args.sub.as_str().to_owned(),
        aud: args.aud.clone(),
        exp: now.saturating_add(args.ttl.as_secs()),
        iat: Some(now),
        grants: args.room.iter().map(grant).collect(),
        admin: args.admin.map(|scope| scope.name().to_owned()),
        ..Claims::default()
    }
}

fn read_key(kid: &str, algorithm: Algorithm, file: &Path) -> Result<SigningKey, Failure> {
    let wrong = |error: String| Failure::failed(format!("{}: {error}", file.display()));
    let content = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
    SigningKey::new(kid, algorithm, &content).map_err(|error| wrong(error.to_string()))
}

fn no_key() -> Failure {
    Failure::new(
        Exit::Unreachable,
        "no dev bus is running, so there is no key to sign with: start one with `arq dev up`, or give --key and --kid",
    )
}

/// The token of `--token` or `--token-file`, if one of them was given.
pub(crate) fn given_token(token: Option<&str>, file: Option<&Path>) -> Result<Option<String>, Failure> {
    match (token, file) {
        (Some(token), _) => Ok(Some(token.to_owned())),
        (None, Some(file)) => {
            let read = std::fs::read_to_string(file);
            let text = read.map_err(|error| Failure::failed(format!("{}: {error}", file.display())))?;
            Ok(Some(text.trim().to_owned()))
        }
        (None, None) => Ok(None),
    }
}
