defmodule ArqonBrain.Rooms.Generation do
  @moduledoc """
  Numbers for the lives of rooms: the wall clock, and higher than that of any life that has ended, even if that clock was set back.
  Two rooms may have the same.
  """

  @key __MODULE__

  @doc "Begins."
  @spec new() :: :ok
  def new, do: :persistent_term.put(@key, :atomics.new(1, signed: false))

  @doc "The number of a life that ends, or that was given elsewhere or before a restart: the next one is higher."
  @spec seen(non_neg_integer) :: :ok
  def seen(generation) do
    counter = :persistent_term.get(@key)
    seen(counter, :atomics.get(counter, 1), generation)
  end

  defp seen(_counter, last, generation) when last >= generation, do: :ok

  defp seen(counter, last, generation) do
    case :atomics.compare_exchange(counter, 1, last, generation) do
      :ok -> :ok
      meanwhile -> seen(counter, meanwhile, generation)
    end
  end

  @doc "The one of a life that begins now."
  @spec next(non_neg_integer) :: pos_integer
  def next(wall_ms), do: max(wall_ms, :atomics.get(:persistent_term.get(@key), 1) + 1)
end
