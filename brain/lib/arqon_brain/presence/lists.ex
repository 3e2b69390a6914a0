defmodule ArqonBrain.Presence.Lists do
  @moduledoc "What operators see of the rooms of one shard."

  alias ArqonBrain.{Lifecycle, View}
  alias ArqonBrain.Presence.State
  alias ArqonBrain.Wire.Pages

  @doc "Rooms behind `after_`, of one tenant or (empty) of all, as many as fit an answer."
  @spec rooms(State.t(), binary, binary, non_neg_integer) :: {[map], more :: boolean}
  def rooms(state, tenant, after_, limit) do
    prefix = if tenant == "", do: "", else: tenant <> "."

    subjects =
      max(after_, prefix)
      |> :gb_sets.iterator_from(state.order)
      |> Stream.unfold(fn iterator ->
        case :gb_sets.next(iterator) do
          :none -> nil
          {subject, rest} -> {subject, rest}
        end
      end)
      |> Stream.drop_while(&(&1 <= after_))
      |> Stream.take_while(&String.starts_with?(&1, prefix))

    Pages.fit(:room_info, Stream.map(subjects, &info(state, &1)), limit)
  end

  defp info(state, subject) do
    room = Map.fetch!(state.rooms, subject)
    visible? = &is_map_key(state.visible, &1)

    %{
      subject: subject,
      generation: room.generation,
      phase: Lifecycle.number(room.phase),
      users: View.count(room.state, visible?),
      members: View.members(room.state, visible?)
    }
  end

  @doc "The members of a room behind `after_`, as many as fit an answer."
  @spec members(State.t(), binary, binary, non_neg_integer) :: map
  def members(state, subject, after_, limit) do
    %{users: users, members: members} = view = view(state, subject)
    behind = Enum.drop_while(view.list, fn {user, _metas} -> user <= after_ end)

    infos =
      Stream.map(behind, fn {user, metas} ->
        %{user: user, metas: for({session, meta} <- metas, do: %{session: session, meta: meta})}
      end)

    {list, more} = Pages.fit(:member_info, infos, limit)
    %{users: users, members: members, list: list, more: more}
  end

  @doc "A room as this Brain shows it."
  @spec view(State.t(), binary) :: %{users: non_neg_integer, members: non_neg_integer, list: list}
  def view(state, subject) do
    case state.rooms do
      %{^subject => room} ->
        visible? = &is_map_key(state.visible, &1)
        list = View.users(room.state, visible?)
        %{users: length(list), members: View.members(room.state, visible?), list: list}

      _ ->
        %{users: 0, members: 0, list: []}
    end
  end
end
