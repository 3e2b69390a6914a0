defmodule ArqonBrain.Spine do
  @moduledoc """
  The door to the message network.

  The Brain only publishes through it; what arrives comes by `ArqonBrain.Control`. Who starts the Brain names the module
  behind the door, so that nothing here depends on one.
  """

  @callback publish(subject :: binary, payload :: iodata) :: :ok | {:error, :down | :full}

  @key {__MODULE__, :module}

  @doc "Publishes one message; never waits for the network. Raises before `use_module/1`."
  @spec publish(binary, iodata) :: :ok | {:error, :down | :full}
  def publish(subject, payload), do: :persistent_term.get(@key).publish(subject, payload)

  @doc "Names the module that publishes. Called at start, and by tests."
  @spec use_module(module) :: :ok
  def use_module(module), do: :persistent_term.put(@key, module)
end
