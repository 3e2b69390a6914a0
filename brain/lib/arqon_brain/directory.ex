defmodule ArqonBrain.Directory do
  @moduledoc """
  The process through which every control message goes: registry of Shields, leases, beacons, orders, and what all hold alike.

  `ArqonBrain.Directory.Machine` decides; this one sends, stores and keeps the alarm. It lives in the time when things happened,
  not in that when it gets to them: a Shield whose heartbeat waits here is alive.
  """

  use GenServer

  require Logger

  alias ArqonBrain.{
    Clock,
    Config,
    Flow,
    Health,
    LeaseTable,
    Metrics,
    Orders,
    Post,
    Settings,
    Shared,
    Store
  }

  alias ArqonBrain.Directory.{Machine, State}
  alias ArqonBrain.Wire.Message

  @doc "Starts it under its name."
  @spec start_link(ArqonBrain.Control.Tree.context()) :: GenServer.on_start()
  def start_link(context), do: GenServer.start_link(__MODULE__, context)

  @doc "The Shields it remembers, in byte order, as operators see them and as the table has them."
  @spec shields() :: [{binary, LeaseTable.Shield.t(), up :: boolean}]
  def shields, do: GenServer.call(__MODULE__, :shields)

  @doc "Revocations and settings."
  @spec shared() :: Shared.t()
  def shared, do: GenServer.call(__MODULE__, :shared)

  @impl true
  def init(context) do
    Flow.register(:directory)
    now = Clock.now()
    presence = context.presence

    table = %LeaseTable{
      lease: presence.lease_ms,
      grace: presence.grace_ms,
      permanent_down: presence.permanent_down_ms,
      max: context.limits.shields_max
    }

    {name, _instance} = context.sender

    options = [
      name: name,
      shards: context.shards,
      table: table,
      sync: presence.sync_ms,
      version: context.version,
      orders: Orders.new(:atomics.add_get(context.directory_starts, 1, 1) - 1)
    ]

    state = Machine.new(options, now)

    # After a crash nobody says again that the link is up.
    state = if Flow.link?(), do: Machine.link(state, true, now), else: state

    Store.subscribe(self())

    shell = %{
      state: state,
      sender: context.sender,
      shards: context.shards,
      alarm: nil,
      # Until when all has been judged.
      now: now,
      # An alarm that is so late was not heard by anybody who was awake.
      late_ms: max(div(presence.lease_ms, 2), 500),
      idle_close: presence.idle_close_ms,
      # Rooms and sessions of each shard, for the gauges.
      sizes: %{}
    }

    {:ok, act(shell)}
  end

  @impl true
  def handle_info({:flow, message, now}, shell) do
    shell = go_on(shell, now)
    shell = shell |> handle(message, shell.now) |> act()
    Flow.done(:directory)
    {:noreply, shell}
  end

  # What happened before the alarm and waits behind it is judged at its own time.
  def handle_info({:clock, :settle}, %{alarm: alarm} = shell) do
    now = Clock.now()
    shell = go_on(shell, now, %{now | mono_ms: min(alarm, now.mono_ms)})
    {:noreply, act(%{shell | alarm: nil, state: Machine.timeout(shell.state, shell.now)})}
  end

  def handle_info({:store, {:loaded, %{revocations: revoked, settings: settings}}}, shell) do
    revoked = Enum.filter(revoked, &Message.revocation?/1)
    settings = settings && Shared.read_settings(settings)

    {:noreply, act(%{shell | state: Machine.restore(shell.state, revoked, settings, shell.now)})}
  end

  def handle_info({:store, {:module, module, bytes}}, shell) do
    {:noreply,
     act(%{shell | state: Machine.stored_module(shell.state, module, bytes, shell.now)})}
  end

  def handle_info(_other, shell), do: {:noreply, shell}

  @impl true
  def handle_call(:shields, _from, shell) do
    now = Clock.now()
    table = shell.state.table

    list =
      for {name, known} <- Enum.sort(table.shields),
          do: {name, known, LeaseTable.up?(table, name, now.mono_ms)}

    {:reply, list, shell}
  end

  def handle_call(:shared, _from, shell), do: {:reply, shell.state.shared, shell}

  # Several processes send, so that a time may be a little before the last one.
  defp go_on(shell, real, now \\ nil) do
    if real.mono_ms - shell.alarm > shell.late_ms,
      do: wake_up(shell, real),
      else: %{shell | now: later(shell.now, now || real)}
  end

  defp later(last, now), do: %{now | mono_ms: max(last.mono_ms, now.mono_ms)}

  # The machine was suspended or has no time for the Brain: nobody's silence means anything.
  defp wake_up(shell, now) do
    Logger.warning("the Brain stood still for #{now.mono_ms - shell.alarm} ms")
    now = later(shell.now, now)
    %{shell | now: now, state: Machine.deaf(shell.state, now)}
  end

  defp handle(shell, {:message, subject, message}, now) do
    state = with_degraded(shell.state, message)
    %{shell | state: Machine.receive_message(state, subject, message, now)}
  end

  defp handle(shell, {:link, up}, now), do: %{shell | state: Machine.link(shell.state, up, now)}

  defp handle(shell, {:gathered, key, seq, answer}, now) do
    %{shell | state: Machine.gathered(shell.state, key, seq, answer, now)}
  end

  defp handle(shell, {:close_room, asker, close}, now) do
    %{shell | state: Machine.close_room(shell.state, asker, close, now)}
  end

  defp handle(shell, {:shard_started, index}, _now) do
    Flow.send({:shard, index}, {:idle_close, shell.idle_close})
    %{shell | state: Machine.shard_started(shell.state, index)}
  end

  defp handle(shell, {:size, index, rooms, sessions}, _now) do
    sizes = Map.put(shell.sizes, index, {rooms, sessions})
    Metrics.set(:rooms, sizes |> Map.values() |> Enum.map(&elem(&1, 0)) |> Enum.sum())
    Metrics.set(:sessions, sizes |> Map.values() |> Enum.map(&elem(&1, 1)) |> Enum.sum())
    %{shell | sizes: sizes}
  end

  # Only an operator's question about Shields shows it.
  defp with_degraded(state, %{body: {:ask, %{kind: {:shields, _}}}}) do
    reasons =
      for %{ok: false, optional: true} = check <- Health.readiness().checks, do: check.reason

    %{state | degraded: Enum.join(reasons, "; ")}
  end

  defp with_degraded(state, _message), do: state

  defp act(shell) do
    {outputs, state} = State.take(shell.state)
    shell = Enum.reduce(outputs, %{shell | state: state}, &output/2)
    at = Machine.next_timeout(state)
    if at != shell.alarm, do: Clock.wake_at(:settle, at)
    %{shell | alarm: at}
  end

  defp output({:publish, subject, body}, shell) do
    Post.send(shell.sender, subject, body)
    shell
  end

  # The digest of its heartbeat says what is left of its older lives.
  defp output({:shards, {:supersede, _shield, _incarnation} = supersede}, shell),
    do: offer_all(shell, supersede)

  # Whether rooms move on, and what a heartbeat is compared with, comes again.
  defp output({:shards, {:look, _now} = look}, shell) do
    Metrics.set(:shields, length(shell.state.up))
    offer_all(configure(shell), look)
  end

  defp output({:shards, {:gather, _key, _seq, _question} = gather}, shell),
    do: offer_all(shell, gather)

  defp output({:shards, message}, shell), do: to_all(shell, message)
  defp output({:shard, index, message}, shell), do: offer(shell, index, message)

  defp output({:sync, digest}, shell) do
    Flow.send(:sync, {:start, digest})
    shell
  end

  defp output({:write, news}, shell) do
    if news.revoked != [], do: Store.put_revocations(news.revoked)
    if news.settings, do: Store.put_settings(Settings.encode(news.settings))
    shell
  end

  defp output({:write_module, module, bytes}, shell) do
    Store.put_module(module, bytes)
    shell
  end

  defp output({:drop_modules, modules}, shell) do
    Store.drop_modules(modules)
    shell
  end

  defp output({:read_modules, modules}, shell) do
    Store.read_modules(modules)
    shell
  end

  defp output({:nowhere, modules}, shell) do
    names = Enum.map_join(modules, ", ", &Base.encode16(&1, case: :lower))

    Logger.warning(
      "no Shield and no Brain has these modules of policies, which settings name: #{names}; " <>
        "they are asked for again, or deploy them again"
    )

    shell
  end

  defp output({:count, metric, labels, n}, shell) do
    Metrics.count(metric, labels, n)
    shell
  end

  defp offer(shell, index, message) do
    if Flow.offer({:shard, index}, message) == :full,
      do: Metrics.count(:control_shed_total, kind: elem(message, 0))

    shell
  end

  defp offer_all(shell, message) do
    Enum.reduce(0..(shell.shards - 1), shell, &offer(&2, &1, message))
  end

  # What every shard must hear is never dropped: digests do not repair it.
  defp to_all(shell, message) do
    for index <- 0..(shell.shards - 1), do: Flow.send({:shard, index}, message)
    shell
  end

  # The file may have been read again.
  defp configure(shell) do
    case :persistent_term.get(Config, nil) do
      %{presence: %{idle_close_ms: ms}} when ms != shell.idle_close ->
        to_all(%{shell | idle_close: ms}, {:idle_close, ms})

      _ ->
        shell
    end
  end
end
