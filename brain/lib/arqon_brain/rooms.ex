defmodule ArqonBrain.Rooms do
  @moduledoc "Finding and starting the processes of rooms."

  alias ArqonBrain.Rooms.{Names, Room}

  @doc "Starts the process of a room."
  @spec start_room(non_neg_integer, ArqonBrain.Control.Tree.context(), map) ::
          {:ok, pid} | {:error, term}
  def start_room(index, context, argument) do
    argument = Map.merge(argument, %{sender: context.sender, confirm: context.presence.lease_ms})
    DynamicSupervisor.start_child(Names.supervisor(index), {Room, argument})
  end

  @doc "The process of a room, if it has one."
  @spec whereis(binary) :: pid | nil
  def whereis(subject) do
    case Registry.lookup(Names.registry(), subject) do
      [{pid, _}] -> pid
      [] -> nil
    end
  end

  @doc "The rooms of a shard that have a process."
  @spec of_shard(non_neg_integer, pos_integer) :: [{binary, pid}]
  def of_shard(index, shards) do
    for {subject, pid} <-
          Registry.select(Names.registry(), [{{:"$1", :"$2", :_}, [], [{{:"$1", :"$2"}}]}]),
        :erlang.phash2(subject, shards) == index,
        do: {subject, pid}
  end
end
