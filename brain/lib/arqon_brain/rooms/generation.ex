defmodule ArqonBrain.Rooms.Generation do
  @moduledoc "Numbers for the lives of rooms: the wall clock, and higher than any before, even if that clock was set back."

  @key __MODULE__

  @doc "Begins."
  @spec new() :: :ok
  def new, do: :persistent_term.put(@key, :atomics.new(1, signed: false))

  @doc "A number that was given elsewhere, or before a restart: the next one is higher."
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

  @doc "The next one."
  @spec next(non_neg_integer) :: pos_integer
  def next(wall_ms) do
    counter = :persistent_term.get(@key)
    next(counter, :atomics.get(counter, 1), wall_ms)
  end

  defp next(counter, last, wall_ms) do
    next = max(wall_ms, last + 1)

    case :atomics.compare_exchange(counter, 1, last, next) do
      :ok -> next
      meanwhile -> next(counter, meanwhile, wall_ms)
    end
  end
end
