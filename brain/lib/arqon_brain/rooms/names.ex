defmodule ArqonBrain.Rooms.Names do
  @moduledoc "The names under which the processes of rooms are found."

  @doc "The registry, by subject."
  @spec registry() :: atom
  def registry, do: Module.concat(["ArqonBrain", "Rooms", "Registry"])

  @doc "The supervisor of one shard's rooms."
  @spec supervisor(non_neg_integer) :: atom
  def supervisor(index),
    do: Module.concat(["ArqonBrain", "Rooms", "Supervisor", Integer.to_string(index)])
end
