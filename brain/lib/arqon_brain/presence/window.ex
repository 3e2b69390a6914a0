defmodule ArqonBrain.Presence.Window do
  @moduledoc """
  When what was collected is announced next: the same time for all shards, so that what watchers are told together does not depend on
  how many shards there are.
  """

  alias ArqonBrain.Clock

  @key __MODULE__

  @doc "Begins without a window."
  @spec new() :: :ok
  def new, do: :persistent_term.put(@key, :atomics.new(1, signed: false))

  @doc "The end of the window that is open; if none is, one opens now."
  @spec ends_at(non_neg_integer, Clock.now()) :: non_neg_integer
  def ends_at(window, %{mono_ms: mono_ms} = now) do
    counter = :persistent_term.get(@key)

    case :atomics.get(counter, 1) do
      open when open > mono_ms -> open
      closed -> open(counter, closed, mono_ms + window, now)
    end
  end

  defp open(counter, closed, ends, now) do
    case :atomics.compare_exchange(counter, 1, closed, ends) do
      :ok -> ends
      meanwhile when meanwhile > now.mono_ms -> meanwhile
      meanwhile -> open(counter, meanwhile, ends, now)
    end
  end
end
