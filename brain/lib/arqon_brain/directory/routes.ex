defmodule ArqonBrain.Directory.Routes do
  @moduledoc "What is done with a message whose sender is known, and which shards have to do it."

  import ArqonBrain.Directory.State, only: [out: 2]

  alias ArqonBrain.{Clock, LeaseTable, Orders, RoomState, Shared}
  alias ArqonBrain.Directory.{Operate, State}
  alias ArqonBrain.Wire.Message

  @doc """
  A message of a Shield that holds its lease. A room that it names twice is answered once: the answer may be a thousand times as large
  as the name.
  """
  @spec of_holder(State.t(), Message.t(), Clock.now()) :: State.t() | :malformed
  def of_holder(state, %{from: from, body: {:heartbeat, heartbeat}}, now) do
    state
    |> State.gather({:heartbeat, from}, {:sum, from}, heartbeat.digest, now)
    |> Operate.note_load(from, heartbeat.load)
  end

  def of_holder(state, %{from: from, body: {:bye, _}}, now) do
    %{state | table: LeaseTable.bye(state.table, from, now.mono_ms), stale: true}
  end

  def of_holder(state, %{from: from, incarnation: incarnation, body: {:update, rooms}}, _now) do
    own? = fn {_subject, room} ->
      Enum.all?(room.slices, fn {shield, slice} ->
        shield == from and slice.incarnation == incarnation
      end)
    end

    if Enum.all?(rooms, own?), do: merge(state, rooms), else: :malformed
  end

  def of_holder(state, %{from: from, body: {:digests, page}}, _now),
    do: digests(state, page, :digests, from)

  def of_holder(state, %{from: from, body: {:compare, watched}}, now) do
    watched =
      for room <- Enum.uniq_by(watched, & &1.subject) do
        up? = &(&1 != from and LeaseTable.up?(state.table, &1, now.mono_ms))
        %{room | shields: Enum.filter(room.shields, up?)}
      end

    split(state, watched, & &1.subject, &{:compare, from, &1})
  end

  def of_holder(state, %{from: from, body: {:order_reply, reply}}, _now) do
    if reply.brain == state.name,
      do: %{state | orders: Orders.reply(state.orders, from, reply.id)},
      else: state
  end

  def of_holder(
        state,
        %{body: {:close_refused, %{subject: subject, generation: generation}}},
        _now
      ) do
    out(state, {:shard, shard(state, subject), {:close_refused, subject, generation}})
  end

  def of_holder(state, %{from: from, instance: instance, body: {:ask, ask}}, now) do
    if ask.to == state.name, do: Operate.ask(state, from, instance, ask, now), else: state
  end

  def of_holder(state, %{from: from, body: {:shared, shared}}, now) do
    Operate.take_shared(state, shared, Message.shield(from), now)
  end

  def of_holder(%{name: name} = state, %{from: from, body: {:want, %{to: name} = want}}, _now),
    do: Operate.answer_want(state, want, Message.shield(from))

  def of_holder(state, %{body: {:want, _of_another}}, _now), do: state

  def of_holder(state, %{from: from, body: {:part, part}}, _now),
    do: Operate.take_part(state, {:shield, from}, part)

  def of_holder(_state, _message, _now), do: :malformed

  @doc "A message of another Brain."
  @spec of_brain(State.t(), Message.t(), Clock.now()) :: State.t() | :malformed
  def of_brain(state, %{from: from, body: {:digests, page}}, _now) do
    state = digests(state, page, :digests_of_brain, from)

    # It holds something else: it gets ours and is asked for its own.
    if page.upto == "" and page.shared != Shared.digest(state.shared),
      do: Operate.send_shared(state, Message.brains(), from),
      else: state
  end

  def of_brain(state, %{body: {:shared, shared}}, now) do
    Operate.take_shared(state, shared, Message.brains(), now)
  end

  def of_brain(%{name: name} = state, %{body: {:pull, %{to: name, subjects: subjects}}}, _now) do
    split(state, Enum.uniq(subjects), & &1, &{:pulled, &1})
  end

  def of_brain(state, %{body: {:pull, _of_another}}, _now), do: state

  def of_brain(%{name: name} = state, %{body: {:want, %{to: to} = want}}, _now)
      when to in ["", name],
      do: Operate.answer_want(state, want, Message.brains())

  def of_brain(state, %{body: {:want, _of_another}}, _now), do: state

  def of_brain(state, %{from: from, body: {:part, part}}, _now),
    do: Operate.take_part(state, {:brain, from}, part)

  def of_brain(state, %{body: {:update, rooms}}, now) do
    {rooms, state} = Enum.map_reduce(rooms, state, &believed(&1, &2, now))
    merge(state, rooms)
  end

  def of_brain(_state, _message, _now), do: :malformed

  # Slices of incarnations that are known here, or newer than those; a newer one ends the lease of the older.
  defp believed({subject, room}, state, now) do
    {slices, table} =
      Enum.reduce(Enum.sort(room.slices), {room.slices, state.table}, fn {shield, slice},
                                                                         {slices, table} ->
        case LeaseTable.rumour(table, shield, slice.incarnation, now.mono_ms) do
          {true, table} -> {slices, table}
          {false, table} -> {Map.delete(slices, shield), table}
        end
      end)

    stale = state.stale or table != state.table
    {{subject, RoomState.new(slices)}, %{state | table: table, stale: stale}}
  end

  defp merge(state, rooms), do: split(state, rooms, &elem(&1, 0), &{:merge, &1})

  # A page says what its sender has within a stretch of subjects: all shards have to hear of it.
  defp digests(state, page, kind, from) do
    by_shard = Enum.group_by(page.rooms, fn {subject, _digest} -> shard(state, subject) end)

    for index <- 0..(state.shards - 1), reduce: state do
      state ->
        rooms = Map.new(Map.get(by_shard, index, []))
        out(state, {:shard, index, {kind, from, %{page | rooms: rooms}}})
    end
  end

  defp split(state, items, subject, message) do
    items
    |> Enum.group_by(&shard(state, subject.(&1)))
    |> Enum.sort()
    |> Enum.reduce(state, fn {index, items}, state ->
      out(state, {:shard, index, message.(items)})
    end)
  end

  defp shard(state, subject), do: :erlang.phash2(subject, state.shards)
end
