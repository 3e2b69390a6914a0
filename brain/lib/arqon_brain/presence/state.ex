defmodule ArqonBrain.Presence.State do
  @moduledoc """
  The rooms of one shard, as a value: merges what Shields and Brains send, collects what watchers have not been told, compares
  digests, and knows when a room's process should look at it.

  Functions take the state, an input and the time, and return the state with its outputs, see `take/1`.
  """

  alias ArqonBrain.{Changes, Clock, RoomState, Settings, View}
  alias ArqonBrain.Presence.Index
  alias ArqonBrain.Wire.{Message, Pages}

  defmodule Room do
    @moduledoc """
    One room. `announce` is what watchers have not been told yet, `noted` what `Index` has of each slice, `digest` the digest of
    the state or `nil` if it has to be computed.
    """
    defstruct state: %RoomState{},
              announce: %RoomState{},
              noted: %{},
              digest: nil,
              generation: 0,
              phase: :active
  end

  @type output ::
          {:publish, subject :: binary, body :: {atom, map}}
          | {:open, subject :: binary}
          | {:room, subject :: binary, message :: term}
          | {:count, metric :: atom, labels :: keyword}

  @type t :: %__MODULE__{}

  # `window` says until when news that come now are collected.
  @enforce_keys [:window, :idle_close, :rooms_max, :sessions_max]
  defstruct [
    :window,
    :idle_close,
    :rooms_max,
    :sessions_max,
    rooms: %{},
    order: :gb_sets.empty(),
    index: %{},
    sessions: 0,
    dirty: %{},
    flush_at: nil,
    visible: %{},
    # Shields that came or went since rooms were looked at.
    came_or_went: %{},
    # Rooms to look at in spite of no change, and from when on.
    waiting: %{},
    # A shard that has lost its state takes nobody's absence for granted until then.
    quiet_until: 0,
    settings: %{version: 0, rooms: [], policies: []},
    out: []
  ]

  @doc "The outputs so far, in their order, and the state without them."
  @spec take(t) :: {[output], t}
  def take(state), do: {:lists.reverse(state.out), %{state | out: []}}

  @doc "Merges rooms and notes what is to be announced."
  @spec merge(t, [{binary, RoomState.t()}], Clock.now()) :: t
  def merge(state, rooms, now) do
    Enum.reduce(rooms, state, fn {subject, delta}, state ->
      vacant = not is_map_key(state.rooms, subject) and RoomState.vacant?(delta)

      cond do
        is_map_key(state.rooms, subject) -> merge_room(state, subject, delta, now)
        # Somebody may still show who was in it.
        vacant -> updates(state, Message.presence(subject), [{subject, delta}])
        map_size(state.rooms) >= state.rooms_max -> refuse(state, :rooms)
        true -> state |> create(subject) |> merge_room(subject, delta, now)
      end
    end)
  end

  # It is looked at even if nothing of its first message can be merged.
  defp create(state, subject) do
    out(
      %{
        state
        | rooms: Map.put(state.rooms, subject, %Room{}),
          order: :gb_sets.add_element(subject, state.order),
          waiting: Map.put(state.waiting, subject, 0)
      },
      {:open, subject}
    )
  end

  defp merge_room(state, subject, delta, now) do
    Enum.reduce(Enum.sort(delta.slices), state, fn {shield, slice}, state ->
      room = Map.fetch!(state.rooms, subject)

      if room.state.size + map_size(slice.entries) > 2 * state.sessions_max do
        refuse(state, :sessions)
      else
        {merged, changes} = RoomState.merge_slice(room.state, shield, slice, %Changes{})
        more = merged.size - room.state.size

        # Without news the state is what it was.
        state =
          if changes.known,
            do: put_slice(state, subject, %{room | state: merged}, shield, more),
            else: state

        cond do
          # Missed by the watchers as well, who find out by their digests.
          changes.refused > 0 -> refuse(state, :spans)
          changes.known -> announce(state, subject, shield, slice, now)
          true -> state
        end
      end
    end)
  end

  defp put_slice(state, subject, room, shield, sessions) do
    slice = Map.fetch!(room.state.slices, shield)
    before = Map.get(room.noted, shield, 0)
    {index, noted} = Index.put(state.index, shield, subject, slice, before)

    # The digest of the state may have changed even if what is noted has not: that one knows of holes.
    room = %{room | noted: Map.put(room.noted, shield, noted), digest: nil}

    %{
      state
      | index: index,
        rooms: Map.put(state.rooms, subject, room),
        sessions: state.sessions + sessions
    }
  end

  defp announce(state, subject, shield, slice, now) do
    room = Map.fetch!(state.rooms, subject)
    {announce, _changes} = RoomState.merge_slice(room.announce, shield, slice, %Changes{})

    %{
      state
      | rooms: Map.put(state.rooms, subject, %{room | announce: announce}),
        dirty: Map.put(state.dirty, subject, true),
        flush_at: state.flush_at || state.window.(now)
    }
  end

  @doc "A new life of a Shield ends what its older ones wrote, in every room."
  @spec supersede(t, binary, non_neg_integer, Clock.now()) :: t
  def supersede(state, shield, incarnation, now) do
    empty = RoomState.new(%{shield => ArqonBrain.Slice.new(incarnation)})
    merge(state, Enum.map(Index.subjects(state.index, shield), &{&1, empty}), now)
  end

  @doc "Drops the dots of Shields that were silent for minutes."
  @spec drop(t, [binary]) :: t
  def drop(state, shields) do
    for shield <- shields, subject <- Index.subjects(state.index, shield), reduce: state do
      state ->
        room = Map.fetch!(state.rooms, subject)
        left = RoomState.drop(room.state, shield)

        room = %{
          room
          | state: left,
            announce: RoomState.drop(room.announce, shield),
            noted: Map.delete(room.noted, shield),
            digest: nil
        }

        sessions = state.sessions - (Map.fetch!(state.rooms, subject).state.size - left.size)
        index = Index.delete(state.index, shield, subject)
        %{state | index: index, rooms: Map.put(state.rooms, subject, room), sessions: sessions}
    end
  end

  @doc "Announces what was collected, if its time has come."
  @spec flush(t, Clock.now()) :: t
  def flush(%__MODULE__{flush_at: at} = state, now) when at == nil or at > now.mono_ms, do: state

  def flush(state, now) do
    dirty = state.dirty |> Map.keys() |> Enum.sort()

    state =
      Enum.reduce(dirty, %{state | dirty: %{}, flush_at: nil}, fn subject, state ->
        case state.rooms do
          %{^subject => room} ->
            rooms = Map.put(state.rooms, subject, %{room | announce: %RoomState{}})

            updates(%{state | rooms: rooms}, Message.presence(subject), [{subject, room.announce}])

          _closed ->
            state
        end
      end)

    look_at(state, dirty, now)
  end

  @doc "Which Shields are shown from now on. Who comes and goes between two looks changes rooms, too."
  @spec visible(t, %{optional(binary) => true}) :: t
  def visible(state, visible) do
    came = Map.drop(visible, Map.keys(state.visible))
    went = Map.drop(state.visible, Map.keys(visible))
    came_or_went = state.came_or_went |> Map.merge(came) |> Map.merge(went)
    %{state | visible: visible, came_or_went: came_or_went}
  end

  @doc "How rooms are treated from now on, and when those are closed that nothing else covers."
  @spec configure(t, Settings.t(), non_neg_integer) :: t
  def configure(state, settings, idle_close) do
    waiting = Map.new(state.waiting, fn {subject, _due} -> {subject, 0} end)
    %{state | settings: settings, idle_close: idle_close, waiting: waiting}
  end

  @doc """
  Looks at the rooms whose life may go on: those that wait, those that changed, and those of Shields that came or went. Nothing can
  have happened to the others.
  """
  @spec look(t, Clock.now()) :: t
  def look(state, now) do
    affected = Enum.flat_map(Map.keys(state.came_or_went), &Index.subjects(state.index, &1))

    subjects =
      (Map.keys(state.waiting) ++ Map.keys(state.dirty) ++ affected) |> Enum.sort() |> Enum.uniq()

    look_at(%{state | came_or_went: %{}}, subjects, now)
  end

  defp look_at(state, subjects, now), do: Enum.reduce(subjects, state, &look_at_room(&2, &1, now))

  defp look_at_room(state, subject, now) do
    case state.rooms do
      %{^subject => room} ->
        occupied = occupied?(state, room)
        due = Map.get(state.waiting, subject, 0)

        cond do
          room.phase == :active and occupied ->
            %{state | waiting: Map.delete(state.waiting, subject)}

          not occupied and now.mono_ms < state.quiet_until ->
            wait(state, subject, 0)

          not occupied and room.phase != :active and now.mono_ms < due ->
            state

          true ->
            out(state, {:room, subject, {:look, occupied, idle_close(state, subject), now}})
        end

      _closed ->
        %{state | waiting: Map.delete(state.waiting, subject)}
    end
  end

  defp wait(state, subject, due), do: %{state | waiting: Map.put(state.waiting, subject, due)}

  defp occupied?(state, room), do: View.occupied?(room.state, &is_map_key(state.visible, &1))

  defp idle_close(state, subject),
    do: Settings.idle_close_ms(state.settings, subject, state.idle_close)

  @doc "A room has a process, new or again: it is looked at next."
  @spec opened(t, binary, non_neg_integer) :: t
  def opened(state, subject, generation) do
    room = Map.fetch!(state.rooms, subject)
    room = %{room | generation: generation, phase: :active}
    %{wait(state, subject, 0) | rooms: Map.put(state.rooms, subject, room)}
  end

  @doc "The sum that a Shield's heartbeat is compared with."
  @spec sum(t, binary) :: non_neg_integer
  def sum(state, shield), do: Index.sum(state.index, shield)

  @doc "A room's process tells where it stands, and when it wants to be looked at without a change."
  @spec phase(t, binary, non_neg_integer, ArqonBrain.Lifecycle.phase(), non_neg_integer) :: t
  def phase(state, subject, generation, phase, due) do
    case state.rooms do
      %{^subject => room} ->
        room = %{room | generation: generation, phase: phase}
        state = %{state | rooms: Map.put(state.rooms, subject, room)}
        if phase == :active, do: state, else: wait(state, subject, due)

      _closed ->
        state
    end
  end

  @doc "A room's process that has outlived this shard's predecessor."
  @spec adopt(t, binary) :: t
  def adopt(state, subject) do
    if is_map_key(state.rooms, subject),
      do: state,
      else: %{create(state, subject) | out: state.out}
  end

  @doc "Nobody has refused the close of a room: it is forgotten, unless somebody came at the last moment."
  @spec close(t, binary, Clock.now()) :: t
  def close(state, subject, now) do
    case state.rooms do
      %{^subject => room} ->
        if occupied?(state, room) do
          out(state, {:room, subject, {:look, true, idle_close(state, subject), now}})
        else
          state |> forget(subject, room) |> out({:room, subject, {:closed, now}})
        end

      _closed ->
        out(state, {:room, subject, {:closed, now}})
    end
  end

  defp forget(state, subject, room) do
    index = Enum.reduce(Map.keys(room.noted), state.index, &Index.delete(&2, &1, subject))

    %{
      state
      | index: index,
        rooms: Map.delete(state.rooms, subject),
        order: :gb_sets.del_element(subject, state.order),
        waiting: Map.delete(state.waiting, subject),
        sessions: state.sessions - room.state.size
    }
  end

  @doc "A Shield refuses the close of a room."
  @spec refused(t, binary, non_neg_integer, Clock.now()) :: t
  def refused(state, subject, generation, now) do
    if is_map_key(state.rooms, subject),
      do: out(state, {:room, subject, {:refuse, generation, now}}),
      else: state
  end

  @doc "Sends rooms, in as many messages as it takes."
  @spec updates(t, binary, [{binary, RoomState.t()}]) :: t
  def updates(state, to, rooms) do
    Enum.reduce(Pages.updates(rooms), state, &out(&2, {:publish, to, &1}))
  end

  defp refuse(state, reason), do: out(state, {:count, :control_ignored_total, reason: reason})

  @doc "Adds an output."
  @spec out(t, output) :: t
  def out(state, output), do: %{state | out: [output | state.out]}
end
