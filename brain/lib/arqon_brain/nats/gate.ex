defmodule ArqonBrain.Nats.Gate do
  @moduledoc """
  Where a publication enters the present connection, or learns that there is none.

  Publishers run in many processes and never wait: what is not yet sent is counted in bytes and messages, and above a
  bound the next one is refused.
  """

  alias ArqonBrain.Metrics
  alias ArqonBrain.Nats.{Backlog, Commands, Writer}

  @table __MODULE__

  @doc "Makes the table; the caller owns it, and without it everything is `:down`."
  @spec new() :: :ok
  def new do
    @table = :ets.new(@table, [:named_table, :protected, read_concurrency: true])
    :ok
  end

  @doc "Lets publications through to a writer."
  @spec open(pid, Backlog.t(), Backlog.limits()) :: :ok
  def open(writer, backlog, limits) do
    true = :ets.insert(@table, {:link, writer, backlog, limits})
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

      {_writer, _backlog, %{payload: most}} when size > most ->
        lost(:too_large, :full)

      {writer, backlog, limits} ->
        if Commands.subject?(subject),
          do: enter(writer, backlog, limits, Commands.pub(subject, payload, size), size),
          else: lost(:bad_subject, :full)
    end
  end

  defp enter(writer, backlog, limits, command, size) do
    if Backlog.take(backlog, size, limits),
      do: Writer.publish(writer, command, size),
      else: lost(:full, :full)
  end

  defp link do
    case :ets.lookup(@table, :link) do
      [{:link, writer, backlog, limits}] -> {writer, backlog, limits}
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
