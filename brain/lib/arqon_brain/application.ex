defmodule ArqonBrain.Application do
  @moduledoc "Starts the Brain's processes in the order in which they need each other."

  use Application

  @impl true
  def start(_type, _args) do
    Supervisor.start_link([], strategy: :rest_for_one, name: ArqonBrain.Supervisor)
  end
end
