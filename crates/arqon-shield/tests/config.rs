//! The configuration, as an operator meets it: a text in, a config or a line of complaint out.

use std::time::Duration;

use arqon_proto::id::{Room, Tenant};
use arqon_shield::config::{
    self, ByteSize, Config, OriginConfig, SlowConsumer, parse_duration, show_duration,
};

fn complaint(text: &str) -> String {
    Config::parse(text, "config.toml").expect_err("a config that is refused").to_string()
}

fn parsed(text: &str) -> Config {
    Config::parse(text, "config.toml").expect("a good config")
}

#[test]
fn the_checked_in_file_is_the_defaults() {
    let checked_in = include_str!("../../../config.toml");
    assert_eq!(config::default_toml(), checked_in, "write it anew with `arq config show`");
    assert_eq!(parsed(checked_in), Config::default());
    assert_eq!(parsed(""), Config::default());
}

#[test]
fn the_defaults_can_work() {
    Config::default().validate().expect("no impossible combination");
}

#[test]
fn the_text_of_a_key_names_its_default() {
    for doc in config::docs() {
        let Some(default) = &doc.default else { continue };
        let said = format!("Default {}", default.trim_matches('"'));
        let quoted = format!("Default {default}");
        assert!(
            doc.text.contains(&said) || doc.text.contains(&quoted),
            "{}: {} does not say {default}",
            doc.key,
            doc.text
        );
    }
}

#[test]
fn a_key_can_be_looked_up() {
    let doc = config::doc("limits.ping_interval").expect("a key");
    assert_eq!(doc.default.as_deref(), Some("\"25s\""));
    assert!(doc.text.contains("pings"), "{}", doc.text);
    assert!(config::doc("auth.keys.file").is_some_and(|doc| doc.default.is_none()));
    assert!(config::doc("limits").is_some() && config::doc("limits.nothing").is_none());
}

#[test]
fn the_examples_in_the_file_are_good() {
    let uncommented: String = config::default_toml()
        .lines()
        .filter_map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.starts_with("[[") || (rest.contains(" = ") && !rest.contains('.')) => {
                Some(rest)
            }
            Some(rest) if rest.starts_with("match = ") || rest.starts_with("file = ") => Some(rest),
            Some(_) => None,
            None => Some(line),
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let config = parsed(&uncommented);
    assert_eq!((config.rooms.len(), config.auth.keys.len()), (1, 1), "{uncommented}");
}

#[test]
fn an_unknown_key_names_the_nearest_one_and_its_place() {
    assert_eq!(
        complaint("# a comment\n[shield]\nlistne = \"127.0.0.1:1\"\n"),
        "config.toml:3:1: unknown key \"listne\" in [shield], did you mean \"listen\"?"
    );
    assert_eq!(
        complaint("[shield]\n  ping_interval = \"25s\"\n"),
        "config.toml:2:3: unknown key \"ping_interval\" in [shield], it is a key of [limits]"
    );
    assert_eq!(complaint("[shild]\n"), "config.toml:1:2: unknown table \"shild\", did you mean \"shield\"?");
    assert_eq!(
        complaint("listen = \"127.0.0.1:1\"\n"),
        "config.toml:1:1: unknown key \"listen\" outside of any table, it is a key of [shield]"
    );
    assert_eq!(
        complaint("[[auth.keys]]\nkid = \"a\"\nalgo = \"HS256\"\n"),
        "config.toml:3:1: unknown key \"algo\" in [[auth.keys]], did you mean \"alg\"?"
    );
    assert_eq!(
        complaint("[[auth.key]]\nkid = \"a\"\n"),
        "config.toml:1:8: unknown key \"key\" in [auth], did you mean \"keys\"?"
    );
    assert!(
        complaint("[drain]\nxyzzy = 1\n").ends_with("unknown key \"xyzzy\" in [drain], which has window")
    );
}

#[test]
fn every_unknown_key_is_told_at_once() {
    let all = complaint("[log]\nlevl = \"info\"\n[drain]\nwindw = \"1s\"\n");
    assert_eq!(all.lines().count(), 2, "{all}");
    assert!(all.starts_with("config.toml:2:1:") && all.contains("\nconfig.toml:4:1:"), "{all}");
}

#[test]
fn a_value_without_its_unit_is_refused_where_it_stands() {
    let bare = complaint("[limits]\nping_interval = 25\n");
    assert!(bare.starts_with("config.toml:2:17: limits.ping_interval: "), "{bare}");
    assert!(bare.contains("a duration with its unit, such as"), "{bare}");
    let wrong = complaint("[limits]\nmessage_bytes_max = \"64KB\"\n");
    assert!(
        wrong.starts_with("config.toml:2:21: limits.message_bytes_max: \"64KB\": expected a size"),
        "{wrong}"
    );
    let listen = complaint("[shield]\nlisten = \"localhost\"\n");
    assert!(listen.starts_with("config.toml:2:10: shield.listen: "), "{listen}");
    let level = complaint("[log]\nlevel = \"loud\"\n");
    assert!(level.contains("loud") && level.contains("`info`"), "{level}");
    let syntax = complaint("[log\n");
    assert!(syntax.starts_with("config.toml:1:"), "{syntax}");
    let pattern = complaint("[[rooms]]\nmatch = \">.a\"\n");
    assert!(pattern.starts_with("config.toml:2:9: rooms.0.match: "), "{pattern}");
    let missing = complaint("[[rooms]]\ntenant = \"acme\"\n");
    assert!(missing.starts_with("config.toml:1:") && missing.contains("missing field `match`"), "{missing}");
}

#[test]
fn impossible_combinations_name_both_values() {
    for (text, expected) in [
        (
            "[limits]\npong_timeout = \"30s\"\n",
            "config.toml:2:16: limits.pong_timeout is 30s but limits.ping_interval is 25s: ",
        ),
        (
            "[limits]\nping_interval = \"10s\"\n",
            "config.toml:2:17: limits.pong_timeout is 10s but limits.ping_interval is 10s: ",
        ),
        (
            "[limits]\nmeta_bytes_max = \"65KiB\"\n",
            "config.toml:2:18: limits.meta_bytes_max is 65KiB but limits.message_bytes_max is 64KiB: ",
        ),
        (
            "[limits]\negress_bytes_max = \"1KiB\"\n",
            "config.toml:2:20: limits.message_bytes_max is 64KiB but limits.egress_bytes_max is 1KiB: ",
        ),
        (
            "[limits]\nframe_bytes_max = \"1MiB\"\n",
            "config.toml:2:19: limits.frame_bytes_max is 1MiB but limits.message_bytes_max is 64KiB: ",
        ),
        ("[limits]\nheader_bytes_max = \"4KiB\"\n", "limits.header_bytes_max is 4KiB"),
        (
            "[limits]\ncommand_burst = 63\n",
            "limits.commands_per_message_max is 64 but limits.command_burst is 63",
        ),
        (
            "[limits]\npublish_rate_per_s = 201\n",
            "limits.publish_rate_per_s is 201 but limits.command_rate_per_s is 200",
        ),
        (
            "[limits]\nrooms_per_connection_max = 0\n",
            "config.toml:2:28: limits.rooms_per_connection_max is 0: ",
        ),
        ("[spine]\ntail_for = \"500ms\"\n", "spine.tail_interval is 1s but spine.tail_for is 500ms"),
        ("[spine]\ndedupe_for = \"1s\"\n", "spine.barrier_deadline is 2s but spine.dedupe_for is 1s"),
        ("[presence]\nlease = \"10ms\"\n", "presence.diff_window is 50ms but presence.lease is 10ms"),
        (
            "[presence]\npermanent_down = \"10s\"\n",
            "presence.lease plus presence.grace is 11s but presence.permanent_down is 10s",
        ),
        ("[presence]\npage_members_max = 300\n", "presence.page_members_max"),
        ("[drain]\nwindow = \"1s\"\n", "limits.close_linger is 5s but drain.window is 1s"),
        (
            "[shield]\nlisten = \"0.0.0.0:7321\"\n",
            "config.toml:2:10: shield.admin_listen is 127.0.0.1:7321 but shield.listen is 0.0.0.0:7321: ",
        ),
        (
            "[origin]\nallowed = [\"https://a.example\", \"b.example\"]\n",
            "config.toml:2:33: origin.allowed.1 is \"b.example\": ",
        ),
        ("[auth]\naudience = \"\"\n", "config.toml:2:12: auth.audience is empty"),
        (
            "[[auth.keys]]\nkid = \"a\"\nalg = \"HS256\"\nfile = \"x\"\n[[auth.keys]]\nkid = \"a\"\nalg = \"HS256\"\nfile = \"y\"\n",
            "config.toml:6:7: auth.keys.1.kid is \"a\" but so is auth.keys.0.kid",
        ),
    ] {
        let complaint = complaint(text);
        assert!(complaint.contains(expected), "{text}\n{complaint}\n{expected}");
    }
}

#[test]
fn what_a_policy_or_a_token_cannot_have_is_refused() {
    for (text, expected) in [
        (
            "[auth]\nrevocations_max_age = \"5s\"\n",
            "config.toml:2:23: auth.revocations_max_age is 5s but presence.lease is 6s",
        ),
        (
            "[policy]\nheaders = [\"Authorization\"]\n",
            "policy.headers.0 is \"Authorization\": it carries tokens",
        ),
        ("[policy]\nheaders = [\"a b\"]\n", "policy.headers.0 is \"a b\": expected the name of a header"),
        (
            "[shield]\nshards = 4\n[policy]\ninstances_max = 11\n[[policies]]\nname = \"a\"\nfile = \"a\"\n\
             [[policies]]\nname = \"b\"\nfile = \"b\"\ntenant = \"acme\"\n",
            "config.toml:4:17: policy.instances_max is 11 but the policies of one tenant need 12",
        ),
    ] {
        let complaint = complaint(text);
        assert!(complaint.contains(expected), "{text}\n{complaint}\n{expected}");
    }
}

#[test]
fn what_belongs_to_nats_is_refused_where_it_cannot_work() {
    let nats = "[spine]\nkind = \"nats\"\nservers = [\"nats://a:1\"]\n";
    for (text, wanted) in [
        (
            "[spine]\nservers = [\"nats://a:1\"]\n".to_owned(),
            "config.toml:2:11: spine.servers is set but spine.kind is \"memory\"",
        ),
        ("[spine]\ntls_required = true\n".to_owned(), "config.toml:2:16: spine.tls_required is set but"),
        (
            "[spine]\nkind = \"nats\"\n".to_owned(),
            "config.toml:2:8: spine.kind is \"nats\" but spine.servers is []",
        ),
        (
            "[spine]\nkind = \"nats\"\nservers = [\"nats://a:1\", \"http://b\"]\n".to_owned(),
            "config.toml:3:26: spine.servers.1: ",
        ),
        (
            format!("{nats}user = \"shield\"\n"),
            "config.toml:4:8: spine.user is set but spine.password_file is not",
        ),
        (
            format!("{nats}password_file = \"p\"\n"),
            "config.toml:4:17: spine.password_file is set but spine.user is not",
        ),
        (
            format!("{nats}nkey_file = \"n\"\ncreds_file = \"c\"\n"),
            "config.toml:5:14: spine.creds_file is set but so is spine.nkey_file",
        ),
        (
            format!("{nats}user = \"u\"\npassword_file = \"p\"\nnkey_file = \"n\"\n"),
            "config.toml:6:13: spine.nkey_file is set but so is spine.password_file",
        ),
        (
            format!("{nats}tls_cert_file = \"c\"\n"),
            "config.toml:4:17: spine.tls_cert_file is set but spine.tls_key_file is not",
        ),
    ] {
        let said = complaint(&text);
        assert!(said.starts_with(wanted), "{said}\nwanted {wanted}");
    }
    let said = complaint("[spine]\nkind = \"nats\"\nservers = [\"nats://user:hunter2@a:1\"]\n");
    assert!(said.contains("spine.password_file") && !said.contains("hunter2"), "{said}");
    parsed(&format!(
        "{nats}user = \"u\"\npassword_file = \"p\"\ntls_cert_file = \"c\"\ntls_key_file = \"k\"\n"
    ));
}

#[test]
fn a_secret_written_into_the_file_is_not_repeated() {
    let inline = complaint("[[auth.keys]]\nkid = \"a\"\nalg = \"HS256\"\nsecret = \"hunter2hunter2\"\n");
    assert!(inline.contains("unknown key \"secret\"") && !inline.contains("hunter2"), "{inline}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(std::path::Path::new("/nonexistent/config.toml")).expect_err("no such file");
    assert!(error.to_string().starts_with("/nonexistent/config.toml: cannot be read: "), "{error}");
}

#[test]
fn the_first_rule_that_covers_a_room_counts() {
    let config = parsed(
        "[[rooms]]\ntenant = \"acme\"\nmatch = \"cursor.*\"\nslow_consumer = \"latest_only\"\n\
         [[rooms]]\nmatch = \"cursor.>\"\nslow_consumer = \"drop_oldest\"\n",
    );
    let policy = |tenant: &str, room: &str| {
        let (tenant, room) = (Tenant::parse(tenant).expect("a tenant"), Room::parse(room).expect("a room"));
        config.slow_consumer(&tenant, room.as_ref())
    };
    assert_eq!(policy("acme", "cursor.a"), SlowConsumer::LatestOnly);
    assert_eq!(policy("acme", "cursor.a.b"), SlowConsumer::DropOldest);
    assert_eq!(policy("other", "cursor.a"), SlowConsumer::DropOldest);
    assert_eq!(policy("acme", "lobby"), SlowConsumer::Disconnect);
}

#[test]
fn a_page_may_connect_to_its_own_host_or_if_it_is_listed() {
    let own = OriginConfig::default();
    assert!(own.allows(None, Some("bus:1")), "a program sends no origin");
    assert!(own.allows(Some("http://bus:1"), Some("bus:1")) && own.allows(Some("https://BUS"), Some("bus")));
    for (origin, host) in [
        ("http://bus:2", Some("bus:1")),
        ("http://evil", Some("bus")),
        ("null", Some("null")),
        ("http://bus", None),
        ("", Some("")),
    ] {
        assert!(!own.allows(Some(origin), host), "{origin} {host:?}");
    }
    let listed = OriginConfig { allowed: vec!["https://app.example".to_owned()] };
    assert!(listed.allows(Some("https://app.example"), Some("bus")));
    assert!(
        !listed.allows(Some("http://app.example"), Some("bus"))
            && !listed.allows(Some("http://bus"), Some("bus"))
    );
    let all = OriginConfig { allowed: vec!["*".to_owned()] };
    assert!(all.allows(Some("null"), None));

    let any_port = OriginConfig { allowed: vec!["http://localhost:*".to_owned()] };
    assert!(
        any_port.allows(Some("http://localhost:8000"), None)
            && any_port.allows(Some("http://localhost"), None)
    );
    for origin in
        ["https://localhost:1", "http://localhost.evil:1", "http://localhost:1.evil", "http://localhost:"]
    {
        assert!(!any_port.allows(Some(origin), None), "{origin}");
    }
}

#[test]
fn quantities_read_back_as_they_are_written() {
    for text in ["0s", "1ms", "250ms", "1s", "60s", "90s", "2m", "119s", "60m", "2h"] {
        assert_eq!(show_duration(parse_duration(text).expect("a duration")), text);
    }
    assert_eq!(parse_duration("1m"), Ok(Duration::from_secs(60)));
    for bad in [
        "",
        "5",
        "s",
        "-1s",
        "1.5s",
        " 1s",
        "1 s",
        "1S",
        "1d",
        "99999999999999999999s",
        "18446744073709551615h",
        "8761h",
    ] {
        assert!(parse_duration(bad).is_err(), "{bad:?}");
    }
    for text in ["0B", "1B", "1023B", "1KiB", "64KiB", "1025KiB", "1MiB", "3GiB"] {
        assert_eq!(text.parse::<ByteSize>().expect("a size").to_string(), text);
    }
    for bad in ["", "64", "KiB", "64KB", "64kb", "64 KiB", "-1B", "18446744073709551615GiB"] {
        assert!(bad.parse::<ByteSize>().is_err(), "{bad:?}");
    }
}

#[test]
fn a_store_without_an_address_or_with_half_a_login_is_refused() {
    for (text, said) in [
        ("address = \"nowhere\"", "valkey.address is \"nowhere\": expected host:port"),
        ("address = \"h:0\"", "expected host:port"),
        ("user = \"u\"", "valkey.user is set but valkey.address is not"),
        ("address = \"h:1\"\nuser = \"u\"", "valkey.user is set but valkey.password_file is not"),
        ("prefix = \"\"", "valkey.prefix is \"\""),
    ] {
        let complaint = complaint(&format!("[valkey]\n{text}\n"));
        assert!(complaint.contains(said), "{text}: {complaint}");
        assert!(
            complaint.starts_with("config.toml:2:") || complaint.starts_with("config.toml:3:"),
            "{complaint}"
        );
    }
    let config = parsed("[valkey]\naddress = \"[::1]:6379\"\n");
    assert_eq!(config.valkey.host_and_port(), Ok(Some(("::1", 6379))));
    assert_eq!(Config::default().valkey.host_and_port(), Ok(None));
}

#[test]
fn where_keys_come_from_must_make_sense() {
    for (text, says) in [
        ("jwks_url = \"ftp://id.example.com/keys\"", "auth.jwks_url: expected https:// or http://"),
        (
            "jwks_url = \"https://me:secret@id.example.com/\"",
            "auth.jwks_url: it may hold neither user nor password",
        ),
        ("jwks_ca_file = \"ca.pem\"", "auth.jwks_ca_file is set but auth.jwks_url is not"),
        ("jwks_url = \"http://id/\"\njwks_ca_file = \"ca.pem\"", "auth.jwks_url is http"),
        ("keys_interval = \"1s\"", "auth.keys_floor is 10s but auth.keys_interval is 1s"),
        ("keys_floor = \"0s\"", "auth.keys_floor is 0s"),
        ("keys_within = \"0s\"", "auth.keys_within is 0s"),
    ] {
        let complaint = complaint(&format!("[auth]\n{text}\n"));
        assert!(complaint.contains(says) && !complaint.contains("secret"), "{text}: {complaint}");
    }
    parsed(
        "[auth]\njwks_url = \"https://id.example.com/keys\"\njwks_ca_file = \"ca.pem\"\nkeys_interval = \"10s\"\n",
    );
}
