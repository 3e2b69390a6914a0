//! `arq policy deploy`, `list` and `rollback`: the modules that Shields run, and who runs which.

use std::fmt::Write as _;
use std::time::Duration;

use arqon_policy::Hash;
use serde_json::{Value, json};

use crate::api::{Api, Content};
use crate::cli::policy::{Deploy, ListPolicies, Rollback};
use crate::failure::{Exit, Failure};
use crate::print::print_line;
use crate::rollout::Rollout;
use crate::runtime_file::RuntimeDir;

/// Digits of a hash that tell modules apart for a person.
const SHORT: usize = 12;

pub(crate) async fn deploy(args: &Deploy) -> Result<(), Failure> {
    let shown = args.module.display();
    let bad = |error: &dyn std::fmt::Display| Failure::new(Exit::BadConfig, format!("{shown}: {error}"));
    let bytes = std::fs::read(&args.module).map_err(|error| bad(&error))?;
    let bytes = wat::parse_bytes(&bytes).map_err(|error| bad(&error))?;
    let api = Api::find(&args.access, &RuntimeDir::of_user())?;
    let version: String = form_urlencoded::byte_serialize(args.release.as_bytes()).collect();
    let path = format!("/v1/policies/{}?version={version}", args.name);
    let policy = api.call_with("PUT", &path, Content::Bytes(&bytes)).await?;
    let module = Hash::of(&bytes).to_string();
    if policy["releases"][0]["module"] != *module {
        return Err(Failure::failed(
            "somebody else deployed this policy at the same time: see `arq policy list`",
        ));
    }
    let deployed = (&*args.name, Some(&*module));
    report(&api, deployed, (args.wait, args.json), |runs| *runs == *module).await
}

pub(crate) async fn roll_back(args: &Rollback) -> Result<(), Failure> {
    let api = Api::find(&args.access, &RuntimeDir::of_user())?;
    let before = api.get("/v1/policies").await?;
    let taken = release(&before, &args.name)["module"].clone();
    let policy = api.call("POST", &format!("/v1/policies/{}/rollback", args.name), None).await?;
    let module = policy["releases"][0]["module"].as_str();
    let good = |runs: &Value| match module {
        Some(module) => *runs == *module,
        // What each file holds is the business of its Shield: none of them runs what was taken back.
        None => *runs != taken,
    };
    report(&api, (&args.name, module), (args.wait, args.json), good).await
}

pub(crate) async fn list(args: &ListPolicies) -> Result<(), Failure> {
    let api = Api::find(&args.access, &RuntimeDir::of_user())?;
    let (deployed, shields) = (api.get("/v1/policies").await?, api.get("/v1/shields").await?);
    if args.json {
        let all = json!({ "policies": deployed["policies"], "shields": running(&shields) });
        return print_line(all.to_string().as_bytes());
    }
    print_line(table(&deployed, &shields).trim_end().as_bytes())
}

/// The release of a policy that is in force.
fn release<'a>(deployed: &'a Value, name: &str) -> &'a Value {
    let mut policies = deployed["policies"].as_array().into_iter().flatten();
    policies.find(|policy| policy["name"] == *name).map_or(&Value::Null, |policy| &policy["releases"][0])
}

/// What each Shield that is up runs.
fn running(shields: &Value) -> Value {
    let shields = shields["shields"].as_array().into_iter().flatten().filter(|shield| shield["up"] == true);
    shields
        .map(|shield| {
            let policies = shield["load"]["policies"].as_array().cloned().unwrap_or_default();
            json!({ "shield": shield["shield"], "policies": policies })
        })
        .collect()
}

fn short(module: &Value) -> &str {
    let module = module.as_str().unwrap_or_default();
    module.get(..SHORT).unwrap_or(module)
}

/// `" (version 3)"`, or nothing.
fn called(of: &Value) -> String {
    match of["version"].as_str() {
        None | Some("") => String::new(),
        Some(version) => format!(" ({version})"),
    }
}

/// Deployed policies with their releases, then every Shield with what it runs.
fn table(deployed: &Value, shields: &Value) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for policy in deployed["policies"].as_array().into_iter().flatten() {
        let _ = writeln!(text, "{}", policy["name"].as_str().unwrap_or_default());
        for (at, release) in policy["releases"].as_array().into_iter().flatten().enumerate() {
            let mark = if at == 0 { "in force" } else { "before  " };
            let bytes = &release["size"];
            let _ =
                writeln!(text, "  {mark} {}{}, {bytes} bytes", short(&release["module"]), called(release));
        }
    }
    if text.is_empty() {
        text.push_str("nothing is deployed: each Shield runs its files\n");
    }
    for shield in running(shields).as_array().into_iter().flatten() {
        let _ = writeln!(text, "Shield {}", shield["shield"].as_str().unwrap_or_default());
        for policy in shield["policies"].as_array().into_iter().flatten() {
            let name = policy["name"].as_str().unwrap_or_default();
            let wanted = &release(deployed, name)["module"];
            let behind = !wanted.is_null() && *wanted != policy["module"];
            let note = if behind { ", not what is deployed" } else { "" };
            let _ = writeln!(text, "  {name} {}{}{note}", short(&policy["module"]), called(policy));
        }
    }
    text
}

/// Whether a Shield judges by what is `good`; `None` if its configuration does not name the policy. Before its first heartbeat nobody knows.
fn runs(shield: &Value, name: &str, good: impl Fn(&Value) -> bool) -> Option<bool> {
    let mut policies = shield["load"]["policies"].as_array().into_iter().flatten();
    match policies.find(|policy| policy["name"] == *name) {
        Some(policy) => Some(good(&policy["module"])),
        None if shield["load"].is_null() => Some(false),
        None => None,
    }
}

/// Waits until nobody is behind, and tells who runs what is in force now: the module, or the files.
async fn report(
    api: &Api,
    (name, module): (&str, Option<&str>),
    (wait, json): (Duration, bool),
    good: impl Fn(&Value) -> bool,
) -> Result<(), Failure> {
    let rollout = Rollout::wait(api, wait, |shield| runs(shield, name, &good)).await?;
    let document = json.then(|| json!({ "policy": name, "module": module }));
    let what = module.map_or("its file".to_owned(), |module| short(&module.into()).to_owned());
    rollout.print(&format!("{name}: {what}"), document, "`arq policy list` and their logs")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shields() -> Value {
        let load = |module: &str| json!({"policies": [{"name": "words", "module": module, "version": "2"}]});
        json!({"shields": [
            {"shield": "a", "up": true, "load": load("aaaaaaaaaaaaaaaa")},
            {"shield": "b", "up": true, "load": load("bbbbbbbbbbbbbbbb")},
            {"shield": "c", "up": false, "load": load("bbbbbbbbbbbbbbbb")},
            {"shield": "d", "up": true, "load": null},
            {"shield": "e", "up": true, "load": {"policies": []}},
        ]})
    }

    #[test]
    fn who_does_not_run_it_is_named() {
        let rollout =
            Rollout::of(&shields(), |shield| runs(shield, "words", |module| module == "aaaaaaaaaaaaaaaa"));
        assert_eq!((rollout.running, rollout.behind), (vec!["a".into()], vec!["b".into(), "d".into()]));
    }

    #[test]
    fn releases_and_who_runs_what_stand_in_a_table() {
        let release = |module: &str, version: &str| json!({"module": module, "version": version, "size": 9});
        let releases = [release("aaaaaaaaaaaaaaaa", "2"), release("bbbbbbbbbbbbbbbb", "")];
        let deployed = json!({"policies": [{"name": "words", "releases": releases}]});
        let expected = "words\n  in force aaaaaaaaaaaa (2), 9 bytes\n  before   bbbbbbbbbbbb, 9 bytes\n\
                        Shield a\n  words aaaaaaaaaaaa (2)\n\
                        Shield b\n  words bbbbbbbbbbbb (2), not what is deployed\n\
                        Shield d\nShield e\n";
        assert_eq!(table(&deployed, &shields()), expected);
        let nothing = table(&json!({"policies": []}), &json!({"shields": []}));
        assert_eq!(nothing, "nothing is deployed: each Shield runs its files\n");
    }
}
