//! `arq settings`: the settings of rooms as a TOML file, and their way to every Shield.

use std::time::Duration;

use arqon_proto::time::millis;
use arqon_shield::config::{parse_duration, show_duration};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::Api;
use crate::cli::operate::{GetSettings, SetSettings};
use crate::failure::{Exit, Failure};
use crate::print::print_line;
use crate::rollout::Rollout;
use crate::runtime_file::RuntimeDir;

/// The file.
#[derive(Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// The one that is replaced; absent: whatever is in force.
    version: Option<u64>,
    #[serde(default)]
    rooms: Vec<Room>,
}

#[derive(Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Room {
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    r#match: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    members_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    publish_rate_per_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_close: Option<String>,
}

pub(crate) async fn get(args: &GetSettings) -> Result<(), Failure> {
    let api = Api::find(&args.access, &RuntimeDir::of_user())?;
    let settings = api.get("/v1/settings").await?;
    if args.json {
        return print_line(settings.to_string().as_bytes());
    }
    let text = toml::to_string(&from_json(&settings)).map_err(|error| Failure::failed(error.to_string()))?;
    print_line(text.trim_end().as_bytes())
}

pub(crate) async fn set(args: &SetSettings) -> Result<(), Failure> {
    let shown = args.file.display();
    let text = std::fs::read_to_string(&args.file);
    let text = text.map_err(|error| Failure::new(Exit::BadConfig, format!("{shown}: {error}")))?;
    let file: File = toml::from_str(&text).map_err(|error| {
        Failure::new(Exit::BadConfig, format!("{shown}: {}", error.to_string().trim_end()))
    })?;
    let rooms = file.rooms.iter().map(room_to_json).collect::<Result<Vec<_>, _>>();
    let rooms = rooms.map_err(|error| Failure::new(Exit::BadConfig, format!("{shown}: {error}")))?;
    let api = Api::find(&args.access, &RuntimeDir::of_user())?;
    let version = match file.version {
        Some(version) => version.into(),
        None => api.get("/v1/settings").await?["version"].clone(),
    };
    let set = api.call("PUT", "/v1/settings", Some(&json!({ "version": version, "rooms": rooms }))).await?;
    let version = &set["version"];
    let rollout = Rollout::wait(&api, args.wait, |shield| Some(runs(shield, version))).await?;
    let document = args.json.then(|| json!({ "version": version }));
    rollout.print(&format!("version {version}"), document, "`arq status`")
}

fn room_to_json(room: &Room) -> Result<Value, String> {
    let mut json = json!({ "match": room.r#match });
    if let Some(tenant) = &room.tenant {
        json["tenant"] = tenant.as_str().into();
    }
    if let Some(max) = room.members_max {
        json["members_max"] = max.into();
    }
    if let Some(rate) = room.publish_rate_per_s {
        json["publish_rate_per_s"] = rate.into();
    }
    if let Some(text) = &room.idle_close {
        let time = parse_duration(text).map_err(|error| format!("idle_close: {text:?}: {error}"))?;
        json["idle_close_ms"] = millis(time).into();
    }
    Ok(json)
}

fn from_json(settings: &Value) -> File {
    let room = |room: &Value| Room {
        tenant: room["tenant"].as_str().map(str::to_owned),
        r#match: room["match"].as_str().unwrap_or_default().to_owned(),
        members_max: room["members_max"].as_u64(),
        publish_rate_per_s: room["publish_rate_per_s"].as_u64().and_then(|rate| u32::try_from(rate).ok()),
        idle_close: room["idle_close_ms"].as_u64().map(|ms| show_duration(Duration::from_millis(ms))),
    };
    let rooms = settings["rooms"].as_array().into_iter().flatten().map(room).collect();
    File { version: settings["version"].as_u64(), rooms }
}

/// Whether a Shield runs the settings with this version, or those that have replaced them already.
fn runs(shield: &Value, version: &Value) -> bool {
    shield["load"]["settings"].as_u64() >= version.as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_get_prints_set_takes() {
        let settings = json!({"version": 7, "rooms": [
            {"tenant": "acme", "match": "chat.>", "members_max": 5, "publish_rate_per_s": 9, "idle_close_ms": 120_000},
            {"match": "*"},
        ]});
        let file = from_json(&settings);
        let text = toml::to_string(&file).expect("a plain tree");
        assert!(text.contains("idle_close = \"2m\""), "{text}");
        let again: File = toml::from_str(&text).expect("what was printed");
        assert_eq!(again, file);
        let rooms: Vec<Value> = again.rooms.iter().map(|room| room_to_json(room).expect("good")).collect();
        assert_eq!(json!(rooms), settings["rooms"]);
    }

    #[test]
    fn who_does_not_run_it_is_named() {
        let shield = |name: &str, up: bool, settings: u64| json!({"shield": name, "up": up, "load": {"settings": settings}});
        let shields = json!({"shields": [
            shield("a", true, 7), shield("b", true, 8), shield("c", true, 6), shield("d", false, 6),
            {"shield": "e", "up": true, "load": null},
        ]});
        let rollout = Rollout::of(&shields, |shield| Some(runs(shield, &json!(7))));
        assert_eq!(
            (rollout.running, rollout.behind),
            (vec!["a".into(), "b".into()], vec!["c".into(), "e".into()])
        );
    }
}
