defmodule ArqonBrain.TestBrain do
  @moduledoc """
  A whole Brain on a real NATS server, with a clock that is driven over NATS: for the differential test, which is written in Rust.

      MIX_ENV=test mix run --no-halt -e 'ArqonBrain.TestBrain.main("brain.config")'

  It prints `brain-1: ready` when it is connected. Requests on `_test.clock.<name of the Brain>`, with a reply each:

  - `advance MONO WALL`: the time moves there, and everything due on the way is done in its order. `ok`
  - `barrier`: everything that was sent on the same connection before is worked off, and what it caused has been sent. `ok`
  - `view SUBJECT`: JSON lines; each user in byte order with its sessions `[id, metadata]` in hex, then the numbers
  - `rooms`, `shields`: JSON lines in byte order
  - `shared`: the digest of what all hold alike
  - `reset MONO WALL`: forgets everything, as a restart does, with a new instance; then the time is set. `ok`

  A request that fails is answered with `error` and the reason.
  """

  use GenServer

  alias ArqonBrain.{
    Config,
    Control,
    Directory,
    Health,
    Json,
    Presence,
    Shared,
    Spine,
    Store,
    TestClock
  }

  @doc "Starts it with a configuration file, in the running application."
  def main(file) do
    {:ok, config} = Config.load(file)
    {:ok, _pid} = serve(config)
    IO.puts("#{config.name}: ready")
  end

  @doc "As `main/1`, with a configuration; returns when the server is connected."
  def serve(config) do
    {:ok, pid} = GenServer.start(__MODULE__, config, name: __MODULE__)
    extra = [{"_test.clock." <> config.name, &take/2}]
    {:ok, _tree} = ArqonBrain.Application.serve(config, extra: extra)
    connected(System.monotonic_time(:millisecond) + 10_000)
    {:ok, pid}
  end

  defp connected(deadline) do
    cond do
      Health.readiness().ready ->
        :ok

      System.monotonic_time(:millisecond) > deadline ->
        raise "no NATS server: #{inspect(Health.readiness())}"

      true ->
        :erlang.yield() && connected(deadline)
    end
  end

  # Called by the connection, behind everything that came before.
  defp take(reply, payload), do: GenServer.cast(__MODULE__, {reply, payload})

  @impl true
  def init(config) do
    TestClock.start()
    {:ok, %{config: config, shards: shards(config)}}
  end

  defp shards(%{shards: 0}), do: System.schedulers_online()
  defp shards(%{shards: shards}), do: shards

  @impl true
  def handle_cast({reply, payload}, state) do
    answer =
      try do
        command(String.split(payload, " "), state)
      catch
        kind, reason -> ["error ", Exception.format(kind, reason, __STACKTRACE__)]
      end

    if reply, do: Spine.publish(reply, answer)
    {:noreply, state}
  end

  defp command(["advance", mono_ms, wall_ms], _state) do
    TestClock.advance(String.to_integer(mono_ms), String.to_integer(wall_ms))
    TestClock.settle()
    "ok"
  end

  defp command(["barrier"], _state) do
    TestClock.settle()
    "ok"
  end

  defp command(["view", subject], state) do
    TestClock.settle()
    view = Presence.view(subject, state.shards)
    hex = &Base.encode16(&1, case: :lower)

    users =
      for {user, metas} <- view.list,
          do: [user: user, sessions: for({s, m} <- metas, do: [hex.(s), hex.(m)])]

    lines(users ++ [[users: view.users, members: view.members]])
  end

  defp command(["rooms"], state) do
    TestClock.settle()
    lines(Presence.rooms(state.shards))
  end

  defp command(["shields"], _state) do
    TestClock.settle()

    lines(
      for {name, known, up} <- Directory.shields() do
        [shield: name, up: up] ++ (known |> Map.from_struct() |> Map.to_list())
      end
    )
  end

  defp command(["shared"], _state) do
    TestClock.settle()
    Integer.to_string(Shared.digest(Directory.shared()))
  end

  defp command(["reset", mono_ms, wall_ms], _state) do
    for id <- [Control.Tree, Store], do: :ok = Supervisor.terminate_child(ArqonBrain.Tree, id)
    TestClock.start(String.to_integer(mono_ms), String.to_integer(wall_ms))

    for id <- [Store, Control.Tree],
        do: {:ok, _pid} = Supervisor.restart_child(ArqonBrain.Tree, id)

    TestClock.settle()
    "ok"
  end

  defp lines(values), do: Enum.map_intersperse(values, "\n", &Json.encode/1)
end
