defmodule ArqonBrain.BrainCase do
  @moduledoc """
  The processes of one Brain on a fake spine and a clock that the test moves. `told/0` gives everything that was published since the
  last call, once all is quiet: no test waits for a time.
  """

  use ExUnit.CaseTemplate

  alias ArqonBrain.{Control, FakeSpine, Flow, TestClock}
  alias ArqonBrain.Wire.Protobuf

  @lease 6_000
  @brain "_arqon.brain"

  using do
    quote do
      import ArqonBrain.BrainCase
      alias ArqonBrain.{Control, Flow, Presence, Rooms, TestClock}
      @lease 6_000
      @grace 5_000
      @brain "_arqon.brain"
      @brains "_arqon.brains"
      @shields "_arqon.shields"
    end
  end

  setup context do
    TestClock.start()
    FakeSpine.start(self())
    shards = Map.get(context, :shards, 2)
    Process.put(:shards, shards)
    Flow.link(false)
    start_supervised!({Control.Tree, config(shards, Map.get(context, :limits, %{}))})
    on_exit(fn -> Flow.link(false) end)
    Control.link(true)
    told()
    :ok
  end

  @doc "A configuration with the defaults and this many shards."
  def config(shards, limits \\ %{}) do
    %ArqonBrain.Config{
      name: "brain-0",
      admin_listen: {"127.0.0.1", 0},
      shards: shards,
      spine: %{},
      presence: %{
        lease_ms: @lease,
        grace_ms: 5_000,
        announce_window_ms: 20,
        sync_ms: 10_000,
        idle_close_ms: 60_000,
        permanent_down_ms: 600_000
      },
      limits:
        Map.merge(
          %{shields_max: 400, rooms_max: 1_000_000, sessions_per_room_max: 50_000},
          limits
        ),
      valkey: nil,
      log_level: :info
    }
  end

  @doc "Says something as a Shield (or, on another subject, as a Brain)."
  def say(from, body, options \\ []) do
    control = %{
      from: from,
      instance: Keyword.get(options, :instance, 1),
      incarnation: Keyword.get(options, :incarnation, 1),
      body: body
    }

    payload = IO.iodata_to_binary(Protobuf.encode(:control, control))
    Control.handle(Keyword.get(options, :subject, @brain), payload)
  end

  @doc "Everything that was published since the last call, as `{subject, body}`."
  def told do
    TestClock.settle()
    collect([])
  end

  defp collect(told) do
    receive do
      {:spine, subject, body, _size} -> collect([{subject, body} | told])
    after
      0 -> Enum.reverse(told)
    end
  end

  @doc "Lets this much time pass, and says what was published meanwhile."
  def pass(ms) do
    now = TestClock.now()
    TestClock.advance(now.mono_ms + ms, now.wall_ms + ms)
    told()
  end

  @doc "Lets time pass while these Shields send heartbeats of what `digest` says."
  def pass(ms, shields, digest \\ fn _ -> 0 end) do
    steps = div(ms, 2_000)

    Enum.flat_map(List.duplicate(2_000, steps) ++ [rem(ms, 2_000)], fn step ->
      for shield <- shields, do: say(shield, {:heartbeat, %{digest: digest.(shield)}})
      pass(step)
    end)
  end

  @doc "An update of one room with one slice."
  def update(subject, shield, spans, entries, options \\ []) do
    slice = %{
      shield: shield,
      incarnation: Keyword.get(options, :incarnation, 1),
      spans: for({from, to} <- spans, do: %{from: from, to: to}),
      entries:
        for(
          {counter, user} <- entries,
          do: %{counter: counter, user: user, session: <<counter::128>>, meta: "1"}
        ),
      members_version: Keyword.get(options, :version, 0),
      members: Keyword.get(options, :members, 0)
    }

    {:update, %{rooms: [%{subject: subject, slices: [slice]}]}}
  end

  @doc "Waits until something is true, for what no message tells."
  def await(fun, deadline \\ System.monotonic_time(:millisecond) + 30_000) do
    cond do
      fun.() -> :ok
      System.monotonic_time(:millisecond) > deadline -> raise "it has not become true"
      true -> :erlang.yield() && await(fun, deadline)
    end
  end

  @doc "The users of a room as the Brain shows it."
  def users(subject) do
    TestClock.settle()
    for {user, _metas} <- ArqonBrain.Presence.view(subject, Process.get(:shards)).list, do: user
  end

  @doc "The bodies of one kind that were told on a subject."
  def bodies(told, subject, kind), do: for({^subject, {^kind, body}} <- told, do: body)

  @doc "The lives of rooms that were told: `{subject, kind}`."
  def events(told) do
    for {"_arqon.rooms", {:room_event, event}} <- told do
      {event.subject, Enum.at([:created, :idle, :active, :closed], event.kind - 1)}
    end
  end
end
