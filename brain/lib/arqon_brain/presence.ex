defmodule ArqonBrain.Presence do
  @moduledoc "What this Brain knows of rooms, for tests."

  alias ArqonBrain.Flow

  @doc "A room as this Brain shows it: numbers, and users in byte order with their sessions."
  @spec view(binary, pos_integer) :: %{
          users: non_neg_integer,
          members: non_neg_integer,
          list: list
        }
  def view(subject, shards) do
    GenServer.call(Flow.name({:shard, :erlang.phash2(subject, shards)}), {:view, subject})
  end

  @doc "The first rooms of each shard, in byte order."
  @spec rooms(pos_integer) :: [map]
  def rooms(shards) do
    0..(shards - 1)
    |> Enum.flat_map(&GenServer.call(Flow.name({:shard, &1}), :rooms))
    |> Enum.sort_by(& &1.subject)
  end
end
