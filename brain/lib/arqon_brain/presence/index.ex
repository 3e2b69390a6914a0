defmodule ArqonBrain.Presence.Index do
  @moduledoc """
  What each Shield has written, over all rooms of a shard: the digests of its slices in the order of subjects, and the sum that
  its heartbeat is compared with. Kept with each change, so that no question walks over all rooms.
  """

  alias ArqonBrain.{Digest, Slice}

  @type t :: %{
          optional(binary) => %{
            sum: non_neg_integer,
            digests: :gb_trees.tree(binary, non_neg_integer)
          }
        }

  @doc "Notes a slice as it is now; `before` is what was noted of it (0 if nothing). Returns what is noted now."
  @spec put(t, binary, binary, Slice.t(), non_neg_integer) :: {t, noted :: non_neg_integer}
  def put(index, shield, subject, slice, before) do
    digest = Slice.digest(slice)

    # With holes nobody could be told what is removed: it must differ from whatever it is compared with.
    noted = if Slice.whole?(slice), do: digest, else: Digest.invert(digest)
    of = Map.get(index, shield) || %{sum: 0, digests: :gb_trees.empty()}
    change = Digest.term(subject, noted) - Digest.term(subject, before)

    of = %{
      of
      | sum: Digest.add(of.sum, change),
        digests: :gb_trees.enter(subject, noted, of.digests)
    }

    {Map.put(index, shield, of), noted}
  end

  @doc "Forgets a slice."
  @spec delete(t, binary, binary) :: t
  def delete(index, shield, subject) do
    with %{^shield => of} <- index, {:value, noted} <- :gb_trees.lookup(subject, of.digests) do
      digests = :gb_trees.delete(subject, of.digests)

      if :gb_trees.is_empty(digests) do
        Map.delete(index, shield)
      else
        sum = Digest.add(of.sum, -Digest.term(subject, noted))
        Map.put(index, shield, %{of | sum: sum, digests: digests})
      end
    else
      _ -> index
    end
  end

  @doc "The sum over all rooms of a Shield."
  @spec sum(t, binary) :: non_neg_integer
  def sum(index, shield) do
    case index do
      %{^shield => of} -> of.sum
      _ -> 0
    end
  end

  @doc "The rooms in which a Shield has written, in byte order."
  @spec subjects(t, binary) :: [binary]
  def subjects(index, shield) do
    case index do
      %{^shield => of} -> :gb_trees.keys(of.digests)
      _ -> []
    end
  end

  @doc "Subjects and digests of a Shield's slices behind `after_` and up to `upto` (empty: no end)."
  @spec page(t, binary, binary, binary) :: [{binary, non_neg_integer}]
  def page(index, shield, after_, upto) do
    case index do
      %{^shield => of} ->
        after_
        |> :gb_trees.iterator_from(of.digests)
        |> :gb_trees.next()
        |> take(after_, upto, [])

      _ ->
        []
    end
  end

  defp take({subject, _digest, rest}, subject, upto, taken),
    do: take(:gb_trees.next(rest), subject, upto, taken)

  defp take({subject, digest, rest}, after_, upto, taken) when upto == "" or subject <= upto do
    take(:gb_trees.next(rest), after_, upto, [{subject, digest} | taken])
  end

  defp take(_end, _after, _upto, taken), do: :lists.reverse(taken)

  @doc """
  Of a page of digests the rooms that are different here, missing here, or missing there: first those that are here, both in byte
  order.
  """
  @spec differing([{binary, non_neg_integer}], %{optional(binary) => non_neg_integer}) :: [binary]
  def differing(mine, theirs) do
    {differ, theirs} =
      Enum.reduce(mine, {[], theirs}, fn
        {_subject, 0}, acc ->
          acc

        {subject, digest}, {differ, theirs} ->
          case Map.pop(theirs, subject) do
            {^digest, theirs} -> {differ, theirs}
            {_other, theirs} -> {[subject | differ], theirs}
          end
      end)

    missing = for {subject, digest} <- Enum.sort(theirs), digest != 0, do: subject
    :lists.reverse(differ, missing)
  end
end
