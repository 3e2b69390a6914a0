defmodule ArqonBrain.Nats.Backlog do
  @moduledoc """
  How much of a connection's publications is not yet sent, counted by everybody who publishes and by the one who sends.
  """

  @bytes 1
  @messages 2

  @type t :: :atomics.atomics_ref()
  @type limits :: %{bytes: pos_integer, messages: pos_integer, payload: pos_integer}

  @doc "Of one connection."
  @spec new() :: t
  def new, do: :atomics.new(2, signed: true)

  @doc "Takes place for one message; false if there is none."
  @spec take(t, non_neg_integer, limits) :: boolean
  def take(backlog, size, limits) do
    bytes = :atomics.add_get(backlog, @bytes, size)
    messages = :atomics.add_get(backlog, @messages, 1)
    fits? = bytes <= limits.bytes and messages <= limits.messages
    if not fits?, do: release(backlog, size, 1)
    fits?
  end

  @doc "Says that the socket has taken so much."
  @spec release(t, non_neg_integer, non_neg_integer) :: :ok
  def release(backlog, bytes, messages) do
    :atomics.sub(backlog, @bytes, bytes)
    :atomics.sub(backlog, @messages, messages)
  end

  @doc "How many messages wait."
  @spec messages(t) :: non_neg_integer
  def messages(backlog), do: max(:atomics.get(backlog, @messages), 0)
end
