//! `arq status`: what the admin port says about a Shield.

use serde_json::{Value, json};

use crate::api::{Answer, Api, Content};
use crate::cli::Status;
use crate::failure::Failure;
use crate::print::print_line;
use crate::runtime_file::RuntimeDir;

pub(crate) async fn run(args: &Status) -> Result<(), Failure> {
    let api = Api::find_any(&args.access, &RuntimeDir::of_user())?;
    let url = &api.url;
    let Answer { status, body } = api.request("GET", "/health/ready", Content::Nothing).await?;
    let ready = status == 200;
    let health: Value = serde_json::from_str(&body).unwrap_or(Value::String(body));
    // Only for the eyes: what they say decides nothing, and an older Shield may not say it.
    let report: Value = match api.request("GET", "/status", Content::Nothing).await {
        Ok(Answer { status: 200, body }) => serde_json::from_str(&body).unwrap_or_default(),
        _ => Value::Null,
    };
    let bus = if api.has_token() { Some(api.get("/v1/shields").await) } else { None };
    if args.json {
        let bus = bus.and_then(Result::ok);
        let all = json!({ "admin_url": url, "ready": ready, "health": health, "status": report, "bus": bus });
        print_line(all.to_string().as_bytes())?;
    } else {
        let state = match (ready, health["degraded"].as_bool()) {
            (false, _) => "not ready",
            (true, Some(true)) => "ready, but degraded",
            (true, _) => "ready",
        };
        print_line(format!("{url}: {state}").as_bytes())?;
        checks(&health).chain(numbers(&report)).try_for_each(|line| print_line(line.as_bytes()))?;
        match bus {
            None => {}
            Some(Ok(bus)) => shields(&bus).try_for_each(|line| print_line(line.as_bytes()))?,
            Some(Err(failure)) => eprintln!("arq: the Shields of the bus cannot be told: {failure}"),
        }
    }
    if ready { Ok(()) } else { Err(Failure::failed(format!("the Shield is not ready (HTTP {status})"))) }
}

/// The checks of a health answer, one line each.
fn checks(health: &Value) -> impl Iterator<Item = String> {
    health["checks"].as_array().into_iter().flatten().map(|check| {
        let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
        let state = if check["ok"] == true { "ok" } else { "failed" };
        let reason = text("reason");
        let reason = if reason.is_empty() { reason } else { format!(", {reason}") };
        format!("  {}: {state}{reason}", text("name"))
    })
}

/// The plain values of a status report, one line each.
fn numbers(report: &Value) -> impl Iterator<Item = String> {
    let plain = |(_, value): &(&String, &Value)| !value.is_object() && !value.is_array();
    let line = |(name, value): (&String, &Value)| match value {
        Value::String(text) => format!("  {name}: {text}"),
        other => format!("  {name}: {other}"),
    };
    report.as_object().into_iter().flatten().filter(plain).map(line)
}

/// The Shields of the bus, one line each.
fn shields(bus: &Value) -> impl Iterator<Item = String> {
    let line = |shield: &Value| {
        let name = shield["shield"].as_str().unwrap_or_default();
        let load = &shield["load"];
        let state = match (shield["up"] == true, load["draining"] == true) {
            (false, _) => format!("not heard for {} s", shield["silent_ms"].as_u64().unwrap_or(0) / 1000),
            (true, true) => "draining".to_owned(),
            (true, false) => "up".to_owned(),
        };
        if load.is_null() {
            return format!("  Shield {name}: {state}");
        }
        format!(
            "  Shield {name}: {state}, {} sockets, {} rooms, {} received, {} delivered, version {}, settings {}",
            load["sockets"],
            load["rooms"],
            load["received"],
            load["delivered"],
            load["version"].as_str().unwrap_or_default(),
            load["settings"]
        )
    };
    let degraded = bus["brain"]["degraded"].as_str().filter(|why| !why.is_empty());
    let settings = format!("  settings: version {}", bus["settings"]);
    let brain = degraded.map(|why| format!("  Brain: degraded, {why}"));
    bus["shields"].as_array().into_iter().flatten().map(line).chain([settings]).chain(brain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_and_number_has_a_line() {
        let health = json!({"ready": false, "checks": [
            {"name": "presence", "ok": true, "optional": true, "reason": ""},
            {"name": "spine", "ok": false, "optional": false, "reason": "out of reach"},
        ]});
        assert_eq!(checks(&health).collect::<Vec<_>>(), ["  presence: ok", "  spine: failed, out of reach"]);
        let report = json!({"id": "shield-1", "sockets": 3, "checks": []});
        assert_eq!(numbers(&report).collect::<Vec<_>>(), ["  id: shield-1", "  sockets: 3"]);
        assert_eq!(checks(&Value::Null).chain(numbers(&Value::Null)).count(), 0);
    }

    #[test]
    fn every_shield_has_a_line() {
        let load = json!({"sockets": 3, "rooms": 1, "received": 5, "delivered": 8, "version": "0.1.0",
            "draining": false, "settings": 7});
        let bus = json!({"settings": 7, "brain": {"version": "0.1.0", "degraded": "no Valkey"}, "shields": [
            {"shield": "a", "up": true, "silent_ms": 10, "load": load},
            {"shield": "b", "up": false, "silent_ms": 9000, "load": null},
        ]});
        let expected = [
            "  Shield a: up, 3 sockets, 1 rooms, 5 received, 8 delivered, version 0.1.0, settings 7",
            "  Shield b: not heard for 9 s",
            "  settings: version 7",
            "  Brain: degraded, no Valkey",
        ];
        assert_eq!(shields(&bus).collect::<Vec<_>>(), expected);
    }
}
