defmodule ArqonBrain.Rooms.Supervisor do
  @moduledoc "The names and the processes of rooms, one supervisor for each shard, so that shards do not wait for each other."

  use Supervisor

  alias ArqonBrain.Rooms.Names

  @doc "Starts it under its name."
  @spec start_link(ArqonBrain.Control.Tree.context()) :: Supervisor.on_start()
  def start_link(context), do: Supervisor.start_link(__MODULE__, context, name: __MODULE__)

  @impl true
  def init(context) do
    supervisors =
      for index <- 0..(context.shards - 1) do
        Supervisor.child_spec({DynamicSupervisor, name: Names.supervisor(index)}, id: index)
      end

    children = [
      {Registry, keys: :unique, name: Names.registry(), partitions: context.shards} | supervisors
    ]

    Supervisor.init(children, strategy: :one_for_all)
  end
end
