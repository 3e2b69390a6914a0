defmodule ArqonBrain.Directory.Machine do
  @moduledoc """
  Who the Shields are: answers hellos, keeps leases, sends beacons and orders, and says which shard has to do the rest.

  Functions take the state, an input and the time, and return the state with its outputs, see `ArqonBrain.Directory.State.take/1`.
  """

  import ArqonBrain.Directory.State, only: [count: 3, out: 2, publish: 3]

  alias ArqonBrain.{Clock, LeaseTable, Modules, Orders, Settings, Shared}
  alias ArqonBrain.Directory.{Operate, Routes, State}
  alias ArqonBrain.Wire.Message

  @doc "A Brain that knows nobody; the Shields will tell it."
  @spec new(keyword, Clock.now()) :: State.t()
  def new(options, now) do
    state = struct!(State, options)

    settle(
      %{
        state
        | warm_at: now.mono_ms + state.table.lease,
          beacon_at: now.mono_ms,
          look_at: now.mono_ms,
          sync_at: now.mono_ms + state.sync
      },
      now
    )
  end

  @doc """
  Whether the spine can be reached. After an outage the Brain listens for a lease before its silence about a Shield means anything.
  """
  @spec link(State.t(), boolean, Clock.now()) :: State.t()
  def link(%State{link_up: false} = state, true, now) do
    settle(
      %{
        state
        | link_up: true,
          warm_at: now.mono_ms + state.table.lease,
          table: LeaseTable.forgive(state.table, now.mono_ms),
          beacon_at: now.mono_ms,
          look_at: now.mono_ms,
          sync_at: now.mono_ms,
          stale: true
      },
      now
    )
  end

  def link(state, up, now), do: settle(%{state | link_up: up}, now)

  @doc "The Brain itself could not listen for a while: as after an outage of the link."
  @spec deaf(State.t(), Clock.now()) :: State.t()
  def deaf(%State{link_up: true} = state, now), do: link(%{state | link_up: false}, true, now)
  def deaf(state, _now), do: state

  @doc "Does what is due. Calling it early or twice does no harm."
  @spec timeout(State.t(), Clock.now()) :: State.t()
  def timeout(state, now), do: settle(state, now)

  @doc "When to call `timeout/2`."
  @spec next_timeout(State.t()) :: non_neg_integer
  def next_timeout(state) do
    # `nil` is greater than any number.
    orders = Orders.next_timeout(state.orders)
    modules = if state.link_up, do: Modules.next_timeout(state.modules)
    Enum.min([state.beacon_at, state.look_at, state.sync_at, state.check_at, orders, modules])
  end

  @doc "Takes a message that came on one of the control subjects of Brains."
  @spec receive_message(State.t(), binary, Message.t(), Clock.now()) :: State.t()
  def receive_message(state, subject, message, now) do
    taken =
      if subject == Message.brain(),
        do: on_shield(state, message, now),
        else: on_brain(state, message, now)

    settle(taken, now)
  end

  defp malformed(state), do: count(state, :control_ignored_total, reason: :malformed)

  defp on_shield(state, %{body: {:hello, _}} = message, now) do
    hello(state, message.from, message.instance, message.incarnation, now)
  end

  defp on_shield(
         state,
         %{from: from, instance: instance, incarnation: incarnation} = message,
         now
       ) do
    was_up = LeaseTable.up?(state.table, from, now.mono_ms)

    case LeaseTable.extend(state.table, from, instance, incarnation, now.mono_ms) do
      {true, table} ->
        # The shards learn that it is shown again before they hear what it asks.
        state = refresh(%{state | table: table, stale: state.stale or not was_up}, now)

        # Whatever is wrong with what it says, it lives.
        case Routes.of_holder(state, message, now) do
          :malformed -> malformed(state)
          state -> state
        end

      {false, _table} ->
        forgotten(state, message)
    end
  end

  # Also what a Shield hears that was given up: it comes back under a new incarnation. A late word of a life that the same process
  # has left itself needs no answer.
  defp forgotten(state, %{body: {:bye, _}}), do: state

  defp forgotten(state, %{from: from, instance: instance, incarnation: incarnation}) do
    if LeaseTable.moved_on?(state.table, from, instance, incarnation) do
      state
    else
      seen = LeaseTable.seen(state.table, from)
      body = {:forgotten, %{instance: instance, incarnation: seen, answers: incarnation}}
      publish(state, Message.shield(from), body)
    end
  end

  defp on_brain(%{name: name} = state, %{from: name}, _now), do: state

  defp on_brain(state, message, now) do
    case Routes.of_brain(state, message, now) do
      :malformed -> malformed(state)
      state -> state
    end
  end

  defp hello(state, from, instance, incarnation, now) do
    before = LeaseTable.seen(state.table, from)
    {greeting, table} = LeaseTable.hello(state.table, from, instance, incarnation, now.mono_ms)
    state = %{state | table: table}
    to = Message.shield(from)

    welcome = %{
      instance: instance,
      incarnation: incarnation,
      accepted: true,
      answers: incarnation
    }

    case greeting do
      :accepted ->
        # A new life of a Shield ends what its older ones wrote.
        state =
          if incarnation > before,
            do: out(state, {:shards, {:supersede, from, incarnation}}),
            else: state

        state = publish(%{state | stale: true}, to, {:welcome, welcome})
        publish(state, to, beacon(state, LeaseTable.up_list(table, now.mono_ms), now))

      {:higher, seen} ->
        publish(state, to, {:welcome, %{welcome | incarnation: seen, accepted: false}})

      {:occupied, holder} ->
        body =
          {:occupied, %{instance: instance, holder_incarnation: holder, answers: incarnation}}

        publish(state, to, body)

      :full ->
        count(state, :control_ignored_total, reason: :shields)
    end
  end

  defp beacon(state, up, now) do
    shields = for {shield, incarnation} <- up, do: %{shield: shield, incarnation: incarnation}

    {:beacon,
     %{
       warming: now.mono_ms < state.warm_at,
       shields: shields,
       shared: Shared.digest(state.shared)
     }}
  end

  defp settle(state, now) do
    state = refresh(state, now)
    due = state.beacon_at <= now.mono_ms
    state = if due or state.up != state.listed, do: tell(state, now), else: state
    state = if state.look_at <= now.mono_ms, do: look(state, now), else: state
    state = if state.sync_at <= now.mono_ms, do: start_sync(state, now), else: state
    state |> push_orders(now) |> Operate.fetch(now)
  end

  # Whose lease runs changes with a message that says so, or with the time; not with each message.
  defp refresh(%State{stale: false, check_at: at} = state, %{mono_ms: mono_ms})
       when at > mono_ms,
       do: state

  defp refresh(state, now) do
    state = if state.link_up, do: give_up(state, now), else: state
    visible = LeaseTable.visible_set(state.table, now.mono_ms)

    state =
      if visible == state.visible, do: state, else: out(state, {:shards, {:visible, visible}})

    %{
      state
      | visible: visible,
        up: LeaseTable.up_list(state.table, now.mono_ms),
        check_at: LeaseTable.next_timeout(state.table, now.mono_ms),
        stale: false
    }
  end

  defp give_up(state, now) do
    case LeaseTable.give_up(state.table, now.mono_ms) do
      {[], table} -> %{state | table: table}
      {gone, table} -> out(%{state | table: table}, {:shards, {:drop, gone}})
    end
  end

  defp tell(state, now) do
    state = %{state | shared: Shared.expire(state.shared, now.wall_ms), listed: state.up}
    state = publish(state, Message.shields(), beacon(state, state.up, now))
    %{state | beacon_at: now.mono_ms + beat(state)}
  end

  # Not with the beacons: those are put off by each that is told out of turn.
  defp look(state, now) do
    state = state |> out({:shards, {:look, now}}) |> tidy(now)
    %{state | look_at: now.mono_ms + beat(state)}
  end

  defp beat(state), do: max(div(state.table.lease, 3), 1)

  # Questions that a shard will never answer, because it has died.
  defp tidy(state, now) do
    old = for {key, gather} <- state.gathers, gather.until <= now.mono_ms, do: key
    %{state | gathers: Map.drop(state.gathers, old)}
  end

  defp start_sync(state, now) do
    out(
      %{state | sync_at: now.mono_ms + max(state.sync, 1)},
      {:sync, Shared.digest(state.shared)}
    )
  end

  defp push_orders(state, now) do
    {sends, done, orders} = Orders.push(state.orders, now.mono_ms)
    state = %{state | orders: orders}

    state =
      Enum.reduce(sends, state, fn {shield, body}, state ->
        publish(state, Message.shield(shield), body)
      end)

    Enum.reduce(done, state, &Operate.order_done(&2, &1))
  end

  @doc "One shard has answered."
  @spec gathered(State.t(), term, pos_integer, term, Clock.now()) :: State.t()
  def gathered(state, key, seq, answer, now) do
    case state.gathers do
      %{^key => %{seq: ^seq, left: 1} = gather} ->
        state = %{state | gathers: Map.delete(state.gathers, key)}
        state |> Operate.answered(key, [answer | gather.answers], gather.about) |> settle(now)

      %{^key => %{seq: ^seq} = gather} ->
        gather = %{gather | left: gather.left - 1, answers: [answer | gather.answers]}
        %{state | gathers: Map.put(state.gathers, key, gather)}

      _ ->
        state
    end
  end

  @doc "A shard has found the generation of a room that an operator wants to close."
  @spec close_room(State.t(), term, map, Clock.now()) :: State.t()
  def close_room(state, asker, close, now),
    do: state |> Operate.order(asker, {:close_room, close}, now) |> settle(now)

  @doc "What was written down by an earlier Brain; merged like everything, so that it may come late."
  @spec restore(State.t(), [map], Settings.t() | nil, Clock.now()) :: State.t()
  def restore(state, revoked, settings, now) do
    state
    |> Operate.merge_shared(revoked, settings, false, now)
    |> Operate.read_modules()
    |> settle(now)
  end

  @doc "What an earlier Brain wrote down of a module. It is written again, as it may have been about to run out."
  @spec stored_module(State.t(), binary, binary, Clock.now()) :: State.t()
  def stored_module(state, module, bytes, now) do
    {news?, modules} = Modules.stored(state.modules, module, bytes)
    state = %{state | modules: modules}
    state = if news?, do: out(state, {:write_module, module, bytes}), else: state
    settle(state, now)
  end

  @doc "A shard starts with nothing: it is told what it must know, and the Shields are asked for what it has lost."
  @spec shard_started(State.t(), non_neg_integer) :: State.t()
  def shard_started(state, index) do
    state = out(state, {:shard, index, {:visible, state.visible}})
    state = out(state, {:shard, index, {:settings, state.shared.settings}})

    Enum.reduce(state.up, state, fn {shield, _incarnation}, state ->
      publish(state, Message.shield(shield), {:resync, %{}})
    end)
  end
end
