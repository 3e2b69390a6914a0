defmodule ArqonBrain.Presence.Compare do
  @moduledoc "Finding what was missed: digests of Shields and of other Brains, and answers to both."

  import ArqonBrain.Presence.State, only: [out: 2, updates: 3]

  alias ArqonBrain.Presence.{Index, State}
  alias ArqonBrain.{RoomState, Slice}
  alias ArqonBrain.Wire.{Message, Pages}

  @doc "Digests of a Shield's rooms: asks for those that differ."
  @spec digests_of(State.t(), binary, map) :: State.t()
  def digests_of(state, shield, %{after: after_, upto: upto, rooms: theirs}) do
    mine = Index.page(state.index, shield, after_, upto)
    pull(state, Message.shield(shield), shield, Index.differing(mine, theirs))
  end

  @doc "Digests of another Brain: asks for what differs."
  @spec digests_of_brain(State.t(), binary, map) :: State.t()
  def digests_of_brain(state, brain, %{after: after_, upto: upto, rooms: theirs}) do
    {mine, state} = digests(state, after_, upto)
    pull(state, Message.brains(), brain, Index.differing(mine, theirs))
  end

  defp pull(state, subject, to, rooms) do
    Enum.reduce(Pages.pulls(to, rooms), state, &out(&2, {:publish, subject, &1}))
  end

  @doc "The rooms behind `after_` and up to `upto` (empty: no end) with their digests, in byte order."
  @spec digests(State.t(), binary, binary) :: {[{binary, non_neg_integer}], State.t()}
  def digests(state, after_, upto) do
    after_
    |> :gb_sets.iterator_from(state.order)
    |> :gb_sets.next()
    |> walk(after_, upto, [])
    |> Enum.map_reduce(state, &digest/2)
  end

  defp walk({subject, rest}, subject, upto, taken),
    do: walk(:gb_sets.next(rest), subject, upto, taken)

  defp walk({subject, rest}, after_, upto, taken) when upto == "" or subject <= upto do
    walk(:gb_sets.next(rest), after_, upto, [subject | taken])
  end

  defp walk(_end, _after, _upto, taken), do: :lists.reverse(taken)

  defp digest(subject, state) do
    case Map.fetch!(state.rooms, subject) do
      %State.Room{digest: nil} = room ->
        digest = RoomState.digest(room.state)

        {{subject, digest},
         %{state | rooms: Map.put(state.rooms, subject, %{room | digest: digest})}}

      %State.Room{digest: digest} ->
        {{subject, digest}, state}
    end
  end

  @doc """
  Rooms as a Shield shows them: it gets the state of those that differ. `shields` are those of a room whose lease runs; who is
  not known here is asked himself.
  """
  @spec compare(State.t(), binary, [map]) :: State.t()
  def compare(state, from, watched) do
    {differ, state} =
      Enum.reduce(watched, {[], state}, fn %{subject: subject} = theirs, {differ, state} ->
        {mine, state} = known_digest(state, subject)

        if mine == theirs.digest,
          do: {differ, state},
          else: {[subject | differ], ask_missing(state, theirs)}
      end)

    updates(state, Message.shield(from), states(state, :lists.reverse(differ)))
  end

  defp known_digest(state, subject) do
    if is_map_key(state.rooms, subject) do
      {{_subject, digest}, state} = digest(subject, state)
      {digest, state}
    else
      {0, state}
    end
  end

  # A Shield shows somebody of whom nothing is known here, or nobody any more: only the writer can say what became of them.
  defp ask_missing(state, %{subject: subject, shields: shields}) do
    known =
      case state.rooms do
        %{^subject => room} -> room.state.slices
        _ -> %{}
      end

    nobody? = fn shield -> not is_map_key(known, shield) or Slice.vacant?(known[shield]) end

    for shield <- shields, nobody?.(shield), reduce: state do
      state ->
        out(
          state,
          {:publish, Message.shield(shield), {:pull, %{to: shield, subjects: [subject]}}}
        )
    end
  end

  @doc "Another Brain asks for the state of rooms."
  @spec pulled(State.t(), [binary]) :: State.t()
  def pulled(state, subjects), do: updates(state, Message.brains(), states(state, subjects))

  defp states(state, subjects) do
    for subject <- subjects, room = state.rooms[subject], do: {subject, room.state}
  end
end
