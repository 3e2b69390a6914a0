defmodule ArqonBrain.Control do
  @moduledoc """
  The way in for what the connection to NATS hears. Both functions are called by that one process, in the order of the wire.

  A message is decoded here, once, and goes to the Directory, which judges leases and hands the rest to the shards. What digests
  repair is dropped and counted while too much waits; a hello, an order's reply or a question never is.
  """

  alias ArqonBrain.{Config, Flow, Metrics}
  alias ArqonBrain.Wire.Message

  @never_dropped [:hello, :bye, :order_reply, :ask]

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

    sent =
      if kind in @never_dropped,
        do: Flow.send(:directory, {:message, subject, message}),
        else: Flow.offer(:directory, {:message, subject, message})

    if sent == :full, do: Metrics.count(:control_shed_total, kind: kind), else: :ok
  end

  defp kind(:malformed), do: :malformed
  defp kind({kind, _fields}), do: kind
end
