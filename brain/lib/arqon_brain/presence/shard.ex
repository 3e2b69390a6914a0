defmodule ArqonBrain.Presence.Shard do
  @moduledoc """
  The process of one part of the rooms, by a hash of their subjects. `ArqonBrain.Presence.State` decides; this one sends, keeps
  the alarm, and starts the processes of rooms.
  """

  use GenServer

  alias ArqonBrain.{Clock, Flow, Metrics, Post, Rooms}
  alias ArqonBrain.Presence.{Compare, Lists, State, Window}
  alias ArqonBrain.Wire.Message

  # The end of a room's process takes microseconds.
  @ending_ms 1000

  @doc "Starts one under its name."
  @spec start_link({non_neg_integer, ArqonBrain.Control.Tree.context()}) :: GenServer.on_start()
  def start_link({index, context}) do
    GenServer.start_link(__MODULE__, {index, context})
  end

  @doc "For a supervisor: one for each index."
  @spec child_spec({non_neg_integer, ArqonBrain.Control.Tree.context()}) ::
          Supervisor.child_spec()
  def child_spec({index, context}) do
    %{id: {__MODULE__, index}, start: {__MODULE__, :start_link, [{index, context}]}}
  end

  @impl true
  def init({index, context}) do
    Flow.register({:shard, index})
    limits = context.limits

    state = %State{
      window: &Window.ends_at(context.presence.announce_window_ms, &1),
      idle_close: context.presence.idle_close_ms,
      rooms_max: div(limits.rooms_max + context.shards - 1, context.shards),
      sessions_max: limits.sessions_per_room_max
    }

    shell = %{
      state: state,
      index: index,
      context: context,
      alarm: nil,
      # Of the processes of rooms, by subject and by monitor.
      rooms: %{},
      monitors: %{}
    }

    Flow.send(:directory, {:shard_started, index})
    {:ok, adopt(shell)}
  end

  # Rooms outlive the shard: their processes go on under the same generation. Until the Shields have told again who is in them,
  # nobody's absence means anything.
  defp adopt(shell) do
    case Rooms.of_shard(shell.index, shell.context.shards) do
      [] ->
        shell

      found ->
        quiet_until = Clock.now().mono_ms + shell.context.presence.lease_ms

        Enum.reduce(
          found,
          %{shell | state: %{shell.state | quiet_until: quiet_until}},
          fn {subject, pid}, shell ->
            Flow.send({:room, pid}, {:attach, shell.index})
            watch(%{shell | state: State.adopt(shell.state, subject)}, subject, pid)
          end
        )
    end
  end

  defp watch(shell, subject, pid) do
    monitor = Process.monitor(pid)

    %{
      shell
      | rooms: Map.put(shell.rooms, subject, pid),
        monitors: Map.put(shell.monitors, monitor, subject)
    }
  end

  @impl true
  def handle_info({:flow, message}, shell) do
    now = Clock.now()
    # The alarm may wait behind many messages.
    shell = shell |> handle(message, now) |> update(&State.flush(&1, now)) |> act()
    Flow.done({:shard, shell.index})
    {:noreply, shell}
  end

  def handle_info({:clock, :flush}, shell) do
    {:noreply, act(%{shell | alarm: nil, state: State.flush(shell.state, Clock.now())})}
  end

  def handle_info({:DOWN, monitor, :process, pid, _reason}, shell) do
    case Map.pop(shell.monitors, monitor) do
      {nil, _monitors} ->
        {:noreply, shell}

      {subject, monitors} ->
        {:noreply, act(room_down(%{shell | monitors: monitors}, subject, pid))}
    end
  end

  def handle_info(_other, shell), do: {:noreply, shell}

  @impl true
  def handle_call({:view, subject}, _from, shell),
    do: {:reply, Lists.view(shell.state, subject), shell}

  def handle_call(:rooms, _from, shell),
    do: {:reply, elem(Lists.rooms(shell.state, "", "", 0), 0), shell}

  # A closed room has been forgotten before its process ended, and may have another one by now. One that has crashed goes on, and
  # is looked at next.
  defp room_down(shell, subject, pid) do
    with %{^subject => ^pid} <- shell.rooms,
         shell = %{shell | rooms: Map.delete(shell.rooms, subject)},
         {:known, shell, true} <- {:known, shell, is_map_key(shell.state.rooms, subject)} do
      open(shell, subject, {:again, generation(shell, subject)})
    else
      {:known, shell, false} -> shell
      _another -> shell
    end
  end

  defp handle(shell, {:merge, rooms}, now), do: update(shell, &State.merge(&1, rooms, now))

  defp handle(shell, {:supersede, shield, life}, now),
    do: update(shell, &State.supersede(&1, shield, life, now))

  defp handle(shell, {:drop, shields}, _now), do: update(shell, &State.drop(&1, shields))
  defp handle(shell, {:visible, visible}, _now), do: update(shell, &State.visible(&1, visible))

  defp handle(shell, {:digests, from, page}, _now),
    do: update(shell, &Compare.digests_of(&1, from, page))

  defp handle(shell, {:digests_of_brain, from, page}, _now),
    do: update(shell, &Compare.digests_of_brain(&1, from, page))

  defp handle(shell, {:compare, from, watched}, _now),
    do: update(shell, &Compare.compare(&1, from, watched))

  defp handle(shell, {:pulled, subjects}, _now), do: update(shell, &Compare.pulled(&1, subjects))

  defp handle(shell, {:close_refused, subject, life}, now),
    do: update(shell, &State.refused(&1, subject, life, now))

  defp handle(shell, {:settings, settings}, _now),
    do: update(shell, &State.configure(&1, settings, &1.idle_close))

  defp handle(shell, {:idle_close, ms}, _now),
    do: update(shell, &State.configure(&1, &1.settings, ms))

  defp handle(shell, {:look, now}, _now) do
    Flow.send(:directory, {:size, shell.index, map_size(shell.state.rooms), shell.state.sessions})
    update(shell, &State.look(&1, now))
  end

  defp handle(shell, {:phase, subject, generation, phase, due}, _now) do
    update(shell, &State.phase(&1, subject, generation, phase, due))
  end

  defp handle(shell, {:may_close, subject}, now),
    do: update(shell, &State.close(&1, subject, now))

  defp handle(shell, {:gather, key, seq, question}, _now) do
    Flow.send(:directory, {:gathered, key, seq, answer(shell.state, question)})
    shell
  end

  defp handle(shell, {:snapshot, seq}, _now) do
    {digests, state} = Compare.digests(shell.state, "", "")
    Flow.send(:sync, {:snapshot, seq, digests})
    %{shell | state: state}
  end

  defp handle(shell, {:members, {shield, instance, id}, page}, _now) do
    result = {:members, Lists.members(shell.state, page.subject, page.after, page.limit)}

    publish(
      shell,
      Message.shield(shield),
      {:answer, %{instance: instance, id: id, result: result}}
    )
  end

  defp handle(shell, {:close_room, asker, close}, _now) do
    close = %{close | generation: generation(shell, close.subject)}
    Flow.send(:directory, {:close_room, asker, close})
    shell
  end

  defp generation(shell, subject) do
    case shell.state.rooms do
      %{^subject => room} -> room.generation
      _ -> 0
    end
  end

  defp answer(state, {:sum, shield}), do: State.sum(state, shield)
  defp answer(state, {:rooms, page}), do: Lists.rooms(state, page.tenant, page.after, page.limit)

  defp update(shell, fun), do: %{shell | state: fun.(shell.state)}

  defp act(shell) do
    {outputs, state} = State.take(shell.state)
    shell = Enum.reduce(outputs, %{shell | state: state}, &output/2)
    at = shell.state.flush_at
    if at != nil and at != shell.alarm, do: Clock.wake_at(:flush, at)
    %{shell | alarm: at}
  end

  defp output({:publish, subject, body}, shell), do: publish(shell, subject, body)
  defp output({:open, subject}, shell), do: open(shell, subject, :new)

  defp output({:room, subject, message}, shell) do
    case shell.rooms do
      %{^subject => pid} ->
        Flow.send({:room, pid}, message)
        shell

      _could_not_start ->
        open(shell, subject, {:again, generation(shell, subject)})
    end
  end

  defp output({:count, metric, labels}, shell) do
    Metrics.count(metric, labels)
    shell
  end

  defp publish(shell, subject, body) do
    Post.send(shell.context.sender, subject, body)
    shell
  end

  defp open(shell, subject, how) do
    generation =
      case how do
        :new -> Rooms.Generation.next(Clock.now().wall_ms)
        {:again, generation} -> generation
      end

    state = State.opened(shell.state, subject, generation)
    argument = %{subject: subject, generation: generation, new: how == :new, shard: shell.index}

    shell = %{shell | state: state}

    case Rooms.start_room(shell.index, shell.context, argument) do
      {:ok, pid} ->
        watch(shell, subject, pid)

      {:error, {:already_started, pid}} ->
        # Its earlier life ends just now, and is waited for: it has nothing more to do.
        shell |> gone(pid) |> again(subject, argument)

      {:error, _reason} ->
        shell
    end
  end

  defp gone(shell, pid) do
    monitor = Process.monitor(pid)

    receive do
      {:DOWN, ^monitor, :process, _pid, _reason} -> shell
    after
      @ending_ms -> shell
    end
  end

  defp again(shell, subject, argument) do
    case Rooms.start_room(shell.index, shell.context, argument) do
      {:ok, pid} -> watch(shell, subject, pid)
      {:error, _reason} -> %{shell | rooms: Map.delete(shell.rooms, subject)}
    end
  end
end
