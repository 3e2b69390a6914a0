defmodule ArqonBrain.Nats.Gate do
  @moduledoc """
  Where a publication enters the present connection, or learns that there is none.

  Publishers run in many processes and never wait: what is not yet sent is counted in bytes and messages, and above a
  bound the next one is refused.
  """

  alias ArqonBrain.Metrics
  alias ArqonBrain.Nats.{Commands, Writer}

  @table __MODULE__
  @bytes 1
  @messages 2

  @type limits :: %{bytes: pos_integer, messages: pos_integer, payload: pos_integer}

  @doc "Makes the table; the caller owns it, and without it everything is `:down`."
  @spec new() :: :ok
  def new do
    @table = :ets.new(@table, [:named_table, :protected, read_concurrency: true])
    :ok
  end

  @doc "Counters for one connection."
  @spec counters() :: :atomics.atomics_ref()
  def counters, do: :atomics.new(2, signed: true)

  @doc "Lets publications through to a writer."
  @spec open(pid, :atomics.atomics_ref(), limits) :: :ok
  def open(writer, counters, limits) do
    true = :ets.insert(@table, {:link, writer, counters, limits})
    :ok
  end

  @doc "Lets nothing through any more."
  @spec close() :: :ok
  def close do
    true = :ets.delete(@table, :link)
    :ok
  end

  @doc "Hands one message to the writer."
  @spec publish(binary, iodata) :: :ok | {:error, :down | :full}
  def publish(subject, payload) do
    size = :erlang.iolist_size(payload)

    case link() do
      nil ->
        lost(:down, :down)

      {_writer, _counters, %{payload: most}} when size > most ->
        lost(:too_large, :full)

      {writer, counters, limits} ->
        if Commands.subject?(subject),
          do: enter(writer, counters, limits, Commands.pub(subject, payload, size), size),
          else: lost(:bad_subject, :full)
    end
  end

  defp enter(writer, counters, limits, command, size) do
    bytes = :atomics.add_get(counters, @bytes, size)
    messages = :atomics.add_get(counters, @messages, 1)

    if bytes > limits.bytes or messages > limits.messages do
      release(counters, size, 1)
      lost(:full, :full)
    else
      Writer.publish(writer, command, size)
    end
  end

  @doc "Says that the socket has taken so much, or never will."
  @spec release(:atomics.atomics_ref(), non_neg_integer, non_neg_integer) :: :ok
  def release(counters, bytes, messages) do
    :atomics.sub(counters, @bytes, bytes)
    :atomics.sub(counters, @messages, messages)
  end

  @doc "How many messages wait."
  @spec waiting(:atomics.atomics_ref()) :: integer
  def waiting(counters), do: :atomics.get(counters, @messages)

  defp link do
    case :ets.lookup(@table, :link) do
      [{:link, writer, counters, limits}] -> {writer, counters, limits}
      [] -> nil
    end
  rescue
    # The connection's process is being restarted.
    ArgumentError -> nil
  end

  defp lost(reason, error) do
    Metrics.count(:spine_lost_total, reason: reason)
    {:error, error}
  end
end
