//! The configuration as Erlang terms, which a Brain reads: it has no reader for TOML.
//!
//! The form is that of `brain/lib/arqon_brain/config.ex`. What has no key in `config.toml` is written with the value of the
//! reference ([`BrainConfig`]), so that it stands in one place.

use std::fmt::Write as _;
use std::path::Path;

use arqon_presence::brain::BrainConfig;
use arqon_proto::time::millis;

use crate::config::{Config, LogLevel, SpineConfig, SpineKind, ValkeyConfig};
use crate::parts;

/// Why there is nothing to render.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// Nothing could connect a Brain with the Shields.
    #[error("spine.kind is \"memory\": a Brain meets its Shields over \"nats\" only")]
    NotNats,
    /// A path that Erlang could not read back.
    #[error("{0} is not UTF-8")]
    NotUtf8(&'static str),
    /// As the configuration says it.
    #[error("{0}")]
    Address(String),
}

/// Renders a checked configuration. `folder` is that of its file, absolute.
///
/// # Errors
/// See [`RenderError`].
pub fn render(config: &Config, folder: &Path) -> Result<String, RenderError> {
    if config.spine.kind != SpineKind::Nats {
        return Err(RenderError::NotNats);
    }
    let brain = parts::brain(config, config.brain.name.clone(), 0);
    let admin = config.brain.admin_listen;
    let mut out =
        String::from("%% Made by `arq config render brain`. Change config.toml instead.\n[{arqon_brain, [\n");
    let mut line = |text: String| {
        let _ = writeln!(out, "  {text}");
    };
    line(format!("{{name, {}}},", binary(brain.name.as_str())));
    line(format!("{{admin_listen, {{{}, {}}}}},", binary(&admin.ip().to_string()), admin.port()));
    line(format!("{{shards, {}}},", config.brain.shards));
    line(format!("{{spine, {}}},", spine(&config.spine, folder)?));
    line(presence(&brain));
    line(limits(&brain));
    line(format!("{{valkey, {}}},", valkey(&config.valkey, folder)?));
    line(format!("{{log_level, {}}}", level(config.log.level)));
    out.push_str("]}].\n");
    Ok(out)
}

/// Text as an Erlang binary of its UTF-8 bytes.
fn binary(text: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\');
    if text.chars().all(|c| plain(c) || c == ' ') {
        return format!("<<\"{text}\">>");
    }
    let bytes: Vec<String> = text.bytes().map(|byte| byte.to_string()).collect();
    format!("<<{}>>", bytes.join(","))
}

fn path(key: &'static str, folder: &Path, path: &Path) -> Result<String, RenderError> {
    folder.join(path).to_str().map(binary).ok_or(RenderError::NotUtf8(key))
}

fn spine(spine: &SpineConfig, folder: &Path) -> Result<String, RenderError> {
    let servers: Vec<String> = spine.servers.iter().map(|server| binary(server)).collect();
    let named = |path: &Path| !path.as_os_str().is_empty();
    let auth = if named(&spine.password_file) {
        let file = path("spine.password_file", folder, &spine.password_file)?;
        format!("{{password, {}, {file}}}", binary(&spine.user))
    } else if named(&spine.nkey_file) {
        format!("{{nkey, {}}}", path("spine.nkey_file", folder, &spine.nkey_file)?)
    } else if named(&spine.creds_file) {
        format!("{{creds, {}}}", path("spine.creds_file", folder, &spine.creds_file)?)
    } else {
        "none".to_owned()
    };
    let files = [
        ("ca_file", "spine.tls_ca_file", &spine.tls_ca_file),
        ("cert_file", "spine.tls_cert_file", &spine.tls_cert_file),
        ("key_file", "spine.tls_key_file", &spine.tls_key_file),
    ];
    let files = files.into_iter().filter(|(.., file)| named(file));
    let files = files
        .map(|(name, key, file)| Ok(format!("{{{name}, {}}}", path(key, folder, file)?)))
        .collect::<Result<Vec<_>, RenderError>>()?;
    let tls = if files.is_empty() && !spine.tls_required {
        "none".to_owned()
    } else {
        format!("[{}]", files.join(", "))
    };
    Ok(format!(
        "[\n    {{servers, [{}]}},\n    {{auth, {auth}}},\n    {{tls, {tls}}},\n    {{queue_bytes_max, {}}},\n    \
         {{queue_messages_max, {}}}\n  ]",
        servers.join(", "),
        spine.queue_bytes_max.0,
        spine.queue_messages_max
    ))
}

fn presence(brain: &BrainConfig) -> String {
    format!(
        "{{presence, [{{lease_ms, {}}}, {{grace_ms, {}}}, {{announce_window_ms, {}}}, {{sync_ms, {}}}, \
         {{idle_close_ms, {}}}, {{permanent_down_ms, {}}}]}},",
        millis(brain.lease),
        millis(brain.grace),
        millis(brain.announce_window),
        millis(brain.sync),
        millis(brain.idle_close),
        millis(brain.permanent_down)
    )
}

fn limits(brain: &BrainConfig) -> String {
    format!(
        "{{limits, [{{shields_max, {}}}, {{rooms_max, {}}}, {{sessions_per_room_max, {}}}]}},",
        brain.shields_max, brain.rooms_max, brain.sessions_per_room_max
    )
}

fn valkey(valkey: &ValkeyConfig, folder: &Path) -> Result<String, RenderError> {
    let Some((host, port)) = valkey.host_and_port().map_err(RenderError::Address)? else {
        return Ok("none".to_owned());
    };
    let mut fields = vec![format!("{{address, {{{}, {port}}}}}", binary(host))];
    if !valkey.user.is_empty() {
        fields.push(format!("{{user, {}}}", binary(&valkey.user)));
    }
    if !valkey.password_file.as_os_str().is_empty() {
        let file = path("valkey.password_file", folder, &valkey.password_file)?;
        fields.push(format!("{{password_file, {file}}}"));
    }
    fields.push(format!("{{prefix, {}}}", binary(&valkey.prefix)));
    Ok(format!("[{}]", fields.join(", ")))
}

/// The levels of Erlang's logger that a Brain knows.
const fn level(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warning",
        LogLevel::Info => "info",
        LogLevel::Debug | LogLevel::Trace => "debug",
    }
}
