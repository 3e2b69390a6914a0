defmodule ArqonBrain.Spine do
  @moduledoc """
  The door to the message network.

  The Brain only publishes through it; what arrives comes by `ArqonBrain.Control`.
  """

  @callback publish(subject :: binary, payload :: iodata) :: :ok | {:error, :down | :full}

  @key {__MODULE__, :module}

  @doc "Publishes one message; never waits for the network."
  @spec publish(binary, iodata) :: :ok | {:error, :down | :full}
  def publish(subject, payload) do
    :persistent_term.get(@key, ArqonBrain.Nats.Connection).publish(subject, payload)
  end

  @doc "Names the module that publishes. Called at start, and by tests."
  @spec use_module(module) :: :ok
  def use_module(module), do: :persistent_term.put(@key, module)
end
