defmodule ArqonBrain.Presence.Supervisor do
  @moduledoc "The shards; one that crashes starts again alone."

  use Supervisor

  alias ArqonBrain.Presence.Shard

  @doc "Starts it under its name."
  @spec start_link(ArqonBrain.Control.Tree.context()) :: Supervisor.on_start()
  def start_link(context), do: Supervisor.start_link(__MODULE__, context, name: __MODULE__)

  @impl true
  def init(context) do
    children = for index <- 0..(context.shards - 1), do: {Shard, {index, context}}
    Supervisor.init(children, strategy: :one_for_one, max_restarts: 10, max_seconds: 10)
  end
end
