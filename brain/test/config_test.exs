defmodule ArqonBrain.ConfigTest do
  use ExUnit.Case, async: true

  alias ArqonBrain.{Config, ConfigFixture}

  @moduletag :tmp_dir

  defp load(context, text) do
    path = Path.join(context.tmp_dir, "brain.config")
    File.write!(path, text)
    Config.load(path)
  end

  defp load_with(context, replace), do: load(context, ConfigFixture.file_text(replace))

  test "a file as it is rendered", context do
    assert load_with(context, []) == {:ok, ConfigFixture.config()}
  end

  test "everything that may be left out or set", context do
    {:ok, config} =
      load_with(context, [
        {"{auth, none}", "{auth, {creds, <<\"/run/creds\">>}}"},
        {"{tls, none}", "{tls, [{ca_file, <<\"/run/ca.pem\">>}]}"},
        {"<<\"nats://127.0.0.1:4222\">>", "<<\"tls://nats-1\">>, <<\"nats://[::1]:4223/\">>"},
        {"{valkey, none}", "{valkey, [{address, {<<\"v\">>, 6379}}, {prefix, <<\"arqon\">>}]}"}
      ])

    assert config.spine.auth == {:creds, "/run/creds"}
    assert config.spine.tls == %{ca_file: "/run/ca.pem", cert_file: nil, key_file: nil}
    assert config.spine.servers == [{:tls, "nats-1", 4222}, {:tcp, "::1", 4223}]

    assert config.valkey == %{
             address: {"v", 6379},
             user: nil,
             password_file: nil,
             prefix: "arqon"
           }
  end

  test "what is wrong is named, with what is expected", context do
    for {old, new, expected} <- [
          {"{shards, 2}", "{shards, two}",
           "shards: must be a whole number from 0 to 64, not :two"},
          {"{shards, 2}", "{shard, 2}", "shard: unknown key; did you mean shards?"},
          {"{shards, 2},", "", "shards: is missing"},
          {"{shards, 2}", "{shards, 2}, {shards, 3}", "shards: stands there twice"},
          {"{lease_ms, 6000}", "{lease_ms, 0}",
           "presence.lease_ms: must be a whole number from 1"},
          {"{grace_ms, 5000}", "{grace_s, 5}",
           "presence.grace_s: unknown key; did you mean grace_ms?"},
          {"<<\"brain-1\">>", "<<\"-brain\">>", "name: must be 1 to 64 letters"},
          {"<<\"brain-1\">>", "\"brain-1\"", "name: must be 1 to 64 letters"},
          {"{<<\"127.0.0.1\">>, 0}", "<<\"127.0.0.1:0\">>",
           "admin_listen: must be {<<\"host\">>, port}"},
          {"{<<\"127.0.0.1\">>, 0}", "{<<\"127.0.0.1\">>, 70000}", "admin_listen: must be"},
          {"<<\"nats://127.0.0.1:4222\">>", "", "spine.servers: must be a list of 1 to 64"},
          {"127.0.0.1:4222", "127.0.0.1:70000",
           "spine.servers: an address must be nats://host:port"},
          {"127.0.0.1:4222", "127.0.0.1:0", "spine.servers: an address must be nats://host:port"},
          {"127.0.0.1:4222", "127.0.0.1:x", "spine.servers: an address must be nats://host:port"},
          {"nats://127.0.0.1", "nats://127 0 0 1", "spine.servers: an address must be"},
          {"{queue_messages_max, 65536}", "{queue_messages_max, 65536} | x",
           "spine....: must be a list of {key, value}"},
          {"<<\"nats://127.0.0.1:4222\">>", "<<\"nats://a\">> | b",
           "spine.servers: must be a list"},
          {"nats://127", "http://127", "spine.servers: an address must be nats://host:port"},
          {"nats://127", "nats://u:secret secret@127",
           "spine.servers: an address must not hold a user"},
          {"nats://127", "nats://u:secret@127", "spine.servers: an address must not hold a user"},
          {"{auth, none}", "{auth, {password, <<\"secret\">>}}",
           "spine.auth: must be none, {password"},
          {"{tls, none}", "{tls, [{ca, <<\"x\">>}]}",
           "spine.tls.ca: unknown key; did you mean ca_file?"},
          {"{tls, none}", "{tls, [{ca_file, \"x\"}]}",
           "spine.tls.ca_file: must be the path of a file as <<"},
          {"{valkey, none}", "{valkey, [{prefix, <<\"a\">>}]}", "valkey.address: is missing"},
          {"{valkey, none}", "{valkey, on}",
           "valkey....: must be a list of {key, value}, not :on"},
          {"{log_level, info}", "{log_level, warn}",
           "log_level: must be one of debug, info, warning, error"},
          {"{arqon_brain", "{arqon_brian", "must hold one term"},
          {"]}].", "", "cannot be read: "}
        ] do
      assert {:error, reason} = load_with(context, [{old, new}])
      assert reason =~ expected
      assert reason =~ Path.join(context.tmp_dir, "brain.config: ")
      refute reason =~ "secret"
    end

    assert {:error, reason} = Config.load("/nowhere/brain.config")
    assert reason == "/nowhere/brain.config: cannot be read: no such file or directory"
  end

  test "what differs is told, by whether it may change at run time" do
    old = ConfigFixture.config()
    assert Config.difference(old, old) == {[], []}
    idle = %{old | log_level: :debug, presence: %{old.presence | idle_close_ms: 5}}
    assert Config.difference(old, idle) == {["log_level", "presence.idle_close_ms"], []}
    valkey = %{address: {"v", 1}, user: nil, password_file: nil, prefix: "a"}
    other = %{idle | name: "b", valkey: valkey, spine: %{old.spine | tls: %{ca_file: "a"}}}
    assert {["log_level", _idle], ["name", "spine.tls", "valkey"]} = Config.difference(old, other)
  end
end
