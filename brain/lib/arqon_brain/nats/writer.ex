defmodule ArqonBrain.Nats.Writer do
  @moduledoc """
  The one process that writes to a connection's socket, so that the one that reads never waits for it.

  It sends what has come together meanwhile in one go. It lives as long as its connection and ends with `{:send, reason}`
  when the socket does.
  """

  alias ArqonBrain.Metrics
  alias ArqonBrain.Nats.{Backlog, Transport}

  @batch_bytes 262_144

  @doc "Starts it, linked to the caller."
  @spec start_link(Transport.t(), Backlog.t()) :: pid
  def start_link(transport, backlog), do: spawn_link(fn -> loop(transport, backlog) end)

  @doc "Sends a command that is not counted: there are few and the connection depends on them."
  @spec command(pid, iodata) :: :ok
  def command(writer, bytes), do: put(writer, {:write, bytes, 0, 0})

  @doc "Sends a publication that `Gate` has let in."
  @spec publish(pid, iodata, non_neg_integer) :: :ok
  def publish(writer, bytes, size), do: put(writer, {:write, bytes, size, 1})

  defp put(writer, message) do
    send(writer, message)
    :ok
  end

  defp loop(transport, backlog) do
    receive do
      {:write, bytes, size, messages} ->
        {batch, size, messages} = collect([bytes], size, messages)
        send_all(transport, batch)
        Backlog.release(backlog, size, messages)
        Metrics.count(:spine_messages_total, [direction: :out], messages)
        Metrics.count(:spine_bytes_total, [direction: :out], size)
        loop(transport, backlog)
    end
  end

  defp collect(batch, size, messages) when size >= @batch_bytes, do: {batch, size, messages}

  defp collect(batch, size, messages) do
    receive do
      {:write, bytes, more_size, more} ->
        collect([batch | bytes], size + more_size, messages + more)
    after
      0 -> {batch, size, messages}
    end
  end

  defp send_all(transport, batch) do
    case Transport.write(transport, batch) do
      :ok -> :ok
      {:error, reason} -> exit({:send, reason})
    end
  end
end
