defmodule ArqonBrain.Control do
  @moduledoc """
  The way in for what the connection to NATS hears. Both functions are called by that one process, in the order of the wire.

  A message is decoded here, once, and goes to the Directory, which judges leases and hands the rest to the shards. While too much
  waits, what digests repair is dropped and counted; for signs of life, replies to orders and questions there is place for longer.
  """

  alias ArqonBrain.{Config, Flow, Metrics}
  alias ArqonBrain.Wire.Message

  # Each is said again, but for a question, whose asker then learns that its outcome is unknown.
  @urgent [:hello, :heartbeat, :bye, :order_reply, :ask]

  @doc "What a supervisor starts before the connection."
  @spec children(Config.t()) :: [Supervisor.child_spec()]
  def children(config), do: [ArqonBrain.Control.Tree.child_spec(config)]

  @doc "Says whether the spine can be reached."
  @spec link(boolean) :: :ok
  def link(up) do
    Flow.link(up)
    Flow.send(:directory, {:link, up})
  end

  @doc "Takes a message. Never raises and never waits."
  @spec handle(binary, binary) :: :ok
  def handle(subject, payload) do
    case Message.decode(payload) do
      {:ok, message} -> route(subject, message)
      :error -> Metrics.count(:control_ignored_total, reason: :malformed)
    end
  end

  defp route(subject, message) do
    kind = kind(message.body)
    Metrics.count(:control_messages_total, kind: kind)

    rank = if kind in @urgent, do: :urgent, else: :usual

    case Flow.offer(:directory, {:message, subject, message}, rank) do
      :full -> Metrics.count(:control_shed_total, kind: kind)
      :ok -> :ok
    end
  end

  defp kind(:malformed), do: :malformed
  defp kind({kind, _fields}), do: kind
end
