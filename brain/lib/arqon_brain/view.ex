defmodule ArqonBrain.View do
  @moduledoc """
  A room as its members see it: users, each with the metadata of its tracked sessions.
  """

  alias ArqonBrain.RoomState

  @type metas :: [{session :: binary, meta :: binary}]

  @doc """
  The users of the visible Shields in byte order, each with its sessions in their order. If two Shields claim a session, the
  higher dot is shown.
  """
  @spec users(RoomState.t(), (binary -> boolean)) :: [{user :: binary, metas}]
  def users(state, visible?) do
    state
    |> visible_slices(visible?)
    |> Enum.reduce(%{}, &collect/2)
    |> Enum.map(fn {user, sessions} -> {user, metas(sessions)} end)
    |> Enum.sort()
  end

  @doc "How many users there are."
  @spec count(RoomState.t(), (binary -> boolean)) :: non_neg_integer
  def count(state, visible?) do
    for {_, slice} <- visible_slices(state, visible?),
        {_, {user, _, _}} <- slice.entries,
        into: %{} do
      {user, true}
    end
    |> map_size()
  end

  @doc "Sockets in the room, tracked or not, on the visible Shields."
  @spec members(RoomState.t(), (binary -> boolean)) :: non_neg_integer
  def members(state, visible?) do
    state
    |> visible_slices(visible?)
    |> Enum.map(fn {_, slice} -> slice.members end)
    |> Enum.sum()
  end

  @doc "Whether anybody is in the room, tracked or not, on a visible Shield."
  @spec occupied?(RoomState.t(), (binary -> boolean)) :: boolean
  def occupied?(state, visible?) do
    Enum.any?(state.slices, fn {shield, slice} ->
      not ArqonBrain.Slice.vacant?(slice) and visible?.(shield)
    end)
  end

  defp visible_slices(state, visible?),
    do: Enum.filter(state.slices, fn {shield, _} -> visible?.(shield) end)

  defp collect({shield, slice}, users) do
    Enum.reduce(slice.entries, users, fn {counter, {user, session, meta}}, users ->
      claim = {session, {shield, slice.incarnation, counter}, meta}
      Map.update(users, user, [claim], &[claim | &1])
    end)
  end

  defp metas([{session, _dot, meta}]), do: [{session, meta}]

  defp metas(claims) do
    # Sorted backwards, so that the first of equal sessions is the highest dot.
    claims
    |> Enum.sort(:desc)
    |> Enum.dedup_by(&elem(&1, 0))
    |> Enum.reduce([], fn {session, _dot, meta}, metas -> [{session, meta} | metas] end)
  end
end
