//! Modules of policies that are handed out to all Shields.

use arqon_presence::modules::MODULE_BYTES_MAX;
use arqon_presence::settings::{MODULES_BYTES_MAX, POLICIES_MAX, RELEASES_MAX, VERSION_BYTES_MAX};
use arqon_proto::code::ErrorCode;
use arqon_proto::generated::arqon::v1 as pb;
use axum::Json;
use serde::Serialize;

use super::ApiError;
use super::call::{Call, strange};
use crate::audit;

/// How often a change is tried when others change the settings at the same time.
const TRIES: u32 = 3;

#[derive(Serialize)]
pub(super) struct Policies {
    version: u64,
    policies: Vec<Policy>,
}

#[derive(Serialize)]
pub(super) struct Policy {
    name: String,
    /// The first is in force, the last is what was deployed first; none: the file of each Shield is.
    releases: Vec<Release>,
}

#[derive(Serialize)]
struct Release {
    module: String,
    size: u64,
    version: String,
    at_ms: u64,
}

impl From<pb::Deployed> for Policy {
    fn from(deployed: pb::Deployed) -> Self {
        let release = |release: pb::Release| Release {
            module: hex(&release.module),
            size: release.size,
            version: release.version,
            at_ms: release.at_ms,
        };
        Self { name: deployed.name, releases: deployed.releases.into_iter().map(release).collect() }
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) async fn list(call: Call) -> Result<Json<Policies>, ApiError> {
    call.query([])?;
    let settings = settings(call.ask(pb::AskSettings::default()).await)?;
    let policies = settings.policies.into_iter().map(Policy::from).collect();
    Ok(Json(Policies { version: settings.version, policies }))
}

pub(super) async fn deploy(call: Call) -> Result<Json<Policy>, ApiError> {
    let [version] = call.query(["version"])?;
    let version = version.unwrap_or_default();
    if version.len() > VERSION_BYTES_MAX || version.chars().any(char::is_control) {
        let message = format!("version has at most {VERSION_BYTES_MAX} bytes and no control characters");
        return Err(ApiError::bad(message));
    }
    let name = call.param("policy")?;
    let size = call.body.len() as u64;
    if size == 0 {
        return Err(ApiError::bad("the body has to be the module, as bytes of WebAssembly"));
    }
    if size > MODULE_BYTES_MAX {
        return Err(limit(format!("a module has at most {MODULE_BYTES_MAX} bytes")));
    }
    let module = call.operator.bring(name, call.body.clone()).await?;
    audit::deployed(&call.identity, name, "deploy", &module.to_string());
    let release = pb::Release {
        module: module.0.to_vec(),
        size,
        version: version.to_owned(),
        at_ms: call.operator.now().wall_ms,
    };
    let settings = change(&call, |settings| push(settings, name, release.clone())).await?;
    Ok(Json(found(settings, name)))
}

pub(super) async fn roll_back(call: Call) -> Result<Json<Policy>, ApiError> {
    call.query([])?;
    if !call.body.is_empty() {
        return Err(ApiError::bad("a rollback has no body: it goes to the release before"));
    }
    let name = call.param("policy")?;
    let settings = change(&call, |settings| pop(settings, name)).await?;
    let policy = found(settings, name);
    let to = policy.releases.first().map_or("the files of the Shields", |release| &*release.module);
    audit::deployed(&call.identity, name, "rollback", to);
    Ok(Json(policy))
}

fn limit(message: String) -> ApiError {
    ApiError::new(ErrorCode::LimitExceeded, message)
}

fn settings(answer: Result<pb::answer::Result, ApiError>) -> Result<pb::Settings, ApiError> {
    match answer? {
        pb::answer::Result::Settings(settings) => Ok(settings),
        _ => Err(strange()),
    }
}

/// Changes the settings that are in force, and again if others did so meanwhile.
async fn change(
    call: &Call,
    change: impl Fn(&mut pb::Settings) -> Result<(), ApiError>,
) -> Result<pb::Settings, ApiError> {
    let mut tries = TRIES;
    loop {
        let mut changed = settings(call.ask(pb::AskSettings::default()).await)?;
        change(&mut changed)?;
        match settings(call.ask(pb::ask::Kind::Set(changed)).await) {
            Err(error) if error.is_conflict() && tries > 1 => tries -= 1,
            result => return result,
        }
    }
}

/// Puts a release in front of those of its policy. The oldest go when there are too many, or they are too large.
fn push(settings: &mut pb::Settings, name: &str, release: pb::Release) -> Result<(), ApiError> {
    let of_others = |other: &&pb::Deployed| other.name != name;
    let others: u64 =
        settings.policies.iter().filter(of_others).flat_map(|it| &it.releases).map(|it| it.size).sum();
    if others.saturating_add(release.size) > MODULES_BYTES_MAX {
        return Err(limit(format!("all releases of all policies have at most {MODULES_BYTES_MAX} bytes")));
    }
    let at = match settings.policies.iter().position(|policy| policy.name == name) {
        Some(at) => at,
        None if settings.policies.len() >= POLICIES_MAX => {
            return Err(limit(format!("at most {POLICIES_MAX} policies can be deployed")));
        }
        None => {
            let new = pb::Deployed { name: name.to_owned(), ..Default::default() };
            settings.policies.push(new);
            settings.policies.len() - 1
        }
    };
    let releases = &mut settings.policies[at].releases;
    // Deploying what is in force again is no new release, though it may have another version.
    releases.retain(|old| old.module != release.module);
    releases.insert(0, release);
    releases.truncate(RELEASES_MAX);
    let mut left = MODULES_BYTES_MAX - others;
    let fitting = releases.iter().take_while(|it| {
        let fits = it.size <= left;
        left = left.saturating_sub(it.size);
        fits
    });
    let fitting = fitting.count();
    releases.truncate(fitting);
    Ok(())
}

/// Takes the release in force away.
fn pop(settings: &mut pb::Settings, name: &str) -> Result<(), ApiError> {
    let at = settings.policies.iter().position(|policy| policy.name == name);
    let at = at.ok_or_else(|| {
        let message = format!("nothing was deployed for {name:?}: `arq policy list` tells what was");
        ApiError::new(ErrorCode::NotFound, message)
    })?;
    settings.policies[at].releases.remove(0);
    if settings.policies[at].releases.is_empty() {
        settings.policies.remove(at);
    }
    Ok(())
}

fn found(settings: pb::Settings, name: &str) -> Policy {
    let found = settings.policies.into_iter().find(|policy| policy.name == name);
    found.map_or(Policy { name: name.to_owned(), releases: Vec::new() }, Policy::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(module: u8, size: u64) -> pb::Release {
        pb::Release { module: vec![module; 32], size, ..Default::default() }
    }

    fn modules(settings: &pb::Settings, name: &str) -> Vec<u8> {
        let policy = settings.policies.iter().find(|policy| policy.name == name);
        policy.map(|policy| policy.releases.iter().map(|it| it.module[0]).collect()).unwrap_or_default()
    }

    #[test]
    fn a_release_goes_in_front_and_a_rollback_takes_it_away() {
        let mut settings = pb::Settings::default();
        for module in [1, 2, 1, 3] {
            push(&mut settings, "a", release(module, 10)).expect("within all bounds");
        }
        assert_eq!(modules(&settings, "a"), [3, 1, 2]);
        for left in [&[1, 2][..], &[2], &[]] {
            pop(&mut settings, "a").expect("something was deployed");
            assert_eq!(modules(&settings, "a"), left);
        }
        assert!(settings.policies.is_empty(), "the file is in force again");
        assert!(pop(&mut settings, "a").is_err());
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many_or_they_are_too_large() {
        let mut settings = pb::Settings::default();
        for module in 0..10 {
            push(&mut settings, "a", release(module, 1)).expect("within all bounds");
        }
        assert_eq!(modules(&settings, "a"), [9, 8, 7, 6, 5, 4, 3, 2]);
        push(&mut settings, "b", release(1, MODULES_BYTES_MAX - 8)).expect("just fits beside the others");
        push(&mut settings, "a", release(20, 7)).expect("fits alone");
        assert_eq!(modules(&settings, "a"), [20, 9]);
        assert!(push(&mut settings, "c", release(1, 1)).is_err(), "nothing of others is dropped");
    }

    #[test]
    fn no_more_policies_than_fit() {
        let mut settings = pb::Settings::default();
        for at in 0..POLICIES_MAX {
            push(&mut settings, &format!("p{at}"), release(1, 1)).expect("within all bounds");
        }
        assert!(push(&mut settings, "more", release(1, 1)).is_err());
        push(&mut settings, "p0", release(2, 1)).expect("not one more");
    }
}
