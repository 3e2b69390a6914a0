defmodule ArqonBrain.TestBrain do
  @moduledoc """
  A whole Brain on a real NATS server, with a clock that is driven over NATS: for the differential test, which is written in Rust.

      MIX_ENV=test mix run --no-halt -e 'ArqonBrain.TestBrain.main("brain.config")'

  It prints `brain-1: ready` when it is connected. Requests on `_test.clock.<name of the Brain>`; each is done before the next message of
  the connection is looked at, so that commands and control messages can be sent in one go. Who names a subject gets a reply:

  - `advance MONO WALL`: the time moves there, and everything due on the way is done in its order. `ok` and when the next alarm rings,
    or `none`
  - `barrier`: everything that was sent on the same connection before is worked off, and what it caused has been sent. As `advance`
  - `link up`, `link down`: as the connection tells it. `ok`
  - `views`: JSON lines; each room in byte order with its numbers and phase, and its users in byte order with their sessions
    `[id, metadata]` in hex
  - `rooms`, `shields`: JSON lines in byte order
  - `shared`: the digest of what all hold alike
  - `reset MONO WALL`: forgets everything, as a restart does, with a new instance; then the time is set. `ok`

  A request that fails is answered with `error` and the reason; if nobody waits for an answer, the Brain ends with it.
  """

  use GenServer

  alias ArqonBrain.{
    Config,
    Control,
    Directory,
    Flow,
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
    connected(System.monotonic_time(:millisecond) + 30_000)
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

  # Called by the connection, behind everything that came before; what comes behind has to wait.
  defp take(reply, payload), do: GenServer.call(__MODULE__, {reply, payload}, :infinity)

  @impl true
  def init(config) do
    TestClock.start()
    {:ok, %{config: config, shards: shards(config)}}
  end

  defp shards(%{shards: 0}), do: System.schedulers_online()
  defp shards(%{shards: shards}), do: shards

  @impl true
  def handle_call({reply, payload}, _from, state) do
    answer =
      try do
        command(String.split(payload, " "), state)
      catch
        kind, reason -> ["error ", Exception.format(kind, reason, __STACKTRACE__)]
      end

    cond do
      reply -> Spine.publish(reply, answer)
      match?(["error " | _reason], answer) -> raise IO.iodata_to_binary(answer)
      true -> :ok
    end

    {:reply, :ok, state}
  end

  defp command(["advance", mono_ms, wall_ms], state) do
    TestClock.advance(String.to_integer(mono_ms), String.to_integer(wall_ms))
    command(["barrier"], state)
  end

  defp command(["barrier"], _state) do
    TestClock.settle()
    "ok #{TestClock.next_alarm() || "none"}"
  end

  defp command(["link", direction], _state) when direction in ["up", "down"] do
    Control.link(direction == "up")
    TestClock.settle()
    "ok"
  end

  defp command(["views"], state) do
    TestClock.settle()
    hex = &Base.encode16(&1, case: :lower)

    lines(
      for room <- Presence.rooms(state.shards) do
        view =
          for {user, metas} <- Presence.view(room.subject, state.shards).list,
              do: [user: user, sessions: for({s, m} <- metas, do: [hex.(s), hex.(m)])]

        Map.to_list(room) ++ [view: view]
      end
    )
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

    # As at a start: first everything is there, then the connection tells that it is, too.
    Flow.link(false)

    for id <- [Store, Control.Tree],
        do: {:ok, _pid} = Supervisor.restart_child(ArqonBrain.Tree, id)

    TestClock.settle()
    Control.link(true)
    TestClock.settle()
    "ok"
  end

  defp lines(values), do: Enum.map_intersperse(values, "\n", &Json.encode/1)
end
