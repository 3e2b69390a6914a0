defmodule ArqonBrain.ConfigFixture do
  @moduledoc "Configurations for tests."

  alias ArqonBrain.Config

  @doc "One with the defaults, no Valkey and an admin port of its own; `overrides` replace whole fields."
  def config(overrides \\ []) do
    struct!(
      %Config{
        name: "brain-1",
        admin_listen: {"127.0.0.1", 0},
        shards: 2,
        spine: %{
          servers: [{:tcp, "127.0.0.1", 4222}],
          auth: :none,
          tls: nil,
          queue_bytes_max: 8_388_608,
          queue_messages_max: 65_536
        },
        presence: %{
          lease_ms: 6_000,
          grace_ms: 5_000,
          announce_window_ms: 20,
          sync_ms: 10_000,
          idle_close_ms: 60_000,
          permanent_down_ms: 600_000
        },
        limits: %{shields_max: 400, rooms_max: 1_000_000, sessions_per_room_max: 50_000},
        valkey: nil,
        log_level: :info
      },
      overrides
    )
  end

  @doc "The text of a file as `arq config render brain` writes it; `replace` are pairs of texts."
  def file_text(replace \\ []) do
    text = """
    [{arqon_brain, [
      {name, <<"brain-1">>},
      {admin_listen, {<<"127.0.0.1">>, 0}},
      {shards, 2},
      {spine, [
        {servers, [<<"nats://127.0.0.1:4222">>]},
        {auth, none},
        {tls, none},
        {queue_bytes_max, 8388608},
        {queue_messages_max, 65536}
      ]},
      {presence, [
        {lease_ms, 6000},
        {grace_ms, 5000},
        {announce_window_ms, 20},
        {sync_ms, 10000},
        {idle_close_ms, 60000},
        {permanent_down_ms, 600000}
      ]},
      {limits, [{shields_max, 400}, {rooms_max, 1000000}, {sessions_per_room_max, 50000}]},
      {valkey, none},
      {log_level, info}
    ]}].
    """

    Enum.reduce(replace, text, fn {old, new}, text ->
      true = String.contains?(text, old)
      String.replace(text, old, new)
    end)
  end
end
