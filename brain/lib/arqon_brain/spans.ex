defmodule ArqonBrain.Spans do
  @moduledoc """
  A set of counters as sorted, disjoint, non-adjacent ranges, both ends included: what one writer's slice knows of.

  Without loss there is exactly one range, `{1, n}`. A list, because a bound keeps it short.
  """

  @type t :: [{pos_integer, pos_integer}]

  @doc "The set of everything from `from` to `to`; empty if `from > to`."
  @spec range(non_neg_integer, non_neg_integer) :: t
  def range(from, to) when from > to, do: []
  def range(from, to), do: [{from, to}]

  @doc "Adds `from..to`; nothing if `from > to`."
  @spec insert(t, non_neg_integer, non_neg_integer) :: t
  def insert(spans, from, to) when from > to, do: spans
  def insert([{a, b} | rest], from, to) when b + 1 < from, do: [{a, b} | insert(rest, from, to)]
  def insert([{a, _} | _] = spans, from, to) when to + 1 < a, do: [{from, to} | spans]
  def insert([{a, b} | rest], from, to), do: insert(rest, min(a, from), max(b, to))
  def insert([], from, to), do: [{from, to}]

  @doc "Both sets in one."
  @spec union(t, t) :: t
  def union(spans, other),
    do: Enum.reduce(other, spans, fn {from, to}, spans -> insert(spans, from, to) end)

  @doc "Whether `counter` is in the set."
  @spec member?(t, non_neg_integer) :: boolean
  def member?([{_, to} | rest], counter) when to < counter, do: member?(rest, counter)
  def member?([{from, _} | _], counter), do: from <= counter
  def member?([], _counter), do: false

  @doc "The part of the set within `from..to`."
  @spec clip(t, non_neg_integer, non_neg_integer) :: t
  def clip(spans, from, to) do
    for {a, b} <- spans, max(a, from) <= min(b, to), do: {max(a, from), min(b, to)}
  end

  @doc "The highest counter in the set; 0 if it is empty."
  @spec highest(t) :: non_neg_integer
  def highest([{_, to}]), do: to
  def highest([_ | rest]), do: highest(rest)
  def highest([]), do: 0
end
