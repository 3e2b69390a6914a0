defmodule ArqonBrain.Store.Subscription do
  @moduledoc """
  A step of the start and no process: subscribes a registered process to the store, again each time it was restarted.
  """

  alias ArqonBrain.Store

  @doc "For a supervisor that restarts what comes after a process together with it."
  @spec child_spec(GenServer.name()) :: Supervisor.child_spec()
  def child_spec(subscriber),
    do: %{id: __MODULE__, start: {__MODULE__, :start_link, [subscriber]}}

  @doc "Subscribes, and needs nothing further."
  @spec start_link(atom) :: :ignore
  def start_link(subscriber) do
    if pid = Process.whereis(subscriber), do: Store.subscribe(pid)
    :ignore
  end
end
