defmodule ArqonBrain.Changes do
  @moduledoc "What a merge did. A dot is `{shield, incarnation, counter}`."

  @type dot :: {binary, non_neg_integer, pos_integer}
  @type t :: %__MODULE__{
          added: [{dot, ArqonBrain.Slice.entry()}],
          removed: [{dot, ArqonBrain.Slice.entry()}],
          superseded: [{dot, ArqonBrain.Slice.entry()}],
          members: boolean,
          known: boolean,
          refused: non_neg_integer
        }

  # `known`: anything at all was new, be it only in the spans. `refused`: slices whose spans would have become too many.
  defstruct added: [], removed: [], superseded: [], members: false, known: false, refused: 0
end

defmodule ArqonBrain.Slice do
  @moduledoc """
  What one Shield wrote into one room, whole or in part: only that Shield writes it.

  A counter that is in `spans` and has no entry is removed, whichever of the two messages came first. `sum` is kept with
  the entries, so that the digest of a slice with ten thousand of them costs one step for one change.
  """

  alias ArqonBrain.{Changes, Digest, Spans}

  @typedoc "User, session (16 bytes) and metadata (one JSON value) of one tracked session."
  @type entry :: {user :: binary, session :: <<_::128>>, meta :: binary}
  @type t :: %__MODULE__{
          incarnation: non_neg_integer,
          spans: Spans.t(),
          entries: %{optional(pos_integer) => entry},
          sum: non_neg_integer,
          members_version: non_neg_integer,
          members: non_neg_integer
        }

  defstruct incarnation: 0, spans: [], entries: %{}, sum: 0, members_version: 0, members: 0

  @spans_max 64

  @doc "Ranges a slice may know of before it refuses more: losses beyond that are repaired by a full state."
  @spec spans_max() :: pos_integer
  def spans_max, do: @spans_max

  @doc "A slice of these parts, with its sum."
  @spec new(non_neg_integer, Spans.t(), map, non_neg_integer, non_neg_integer) :: t
  def new(incarnation, spans \\ [], entries \\ %{}, members_version \\ 0, members \\ 0) do
    %__MODULE__{
      incarnation: incarnation,
      spans: spans,
      entries: entries,
      sum: sum(Map.keys(entries)),
      members_version: members_version,
      members: members
    }
  end

  @doc "Whether nobody is in it, tracked or not."
  @spec vacant?(t) :: boolean
  def vacant?(%__MODULE__{entries: entries, members: members}),
    do: members == 0 and map_size(entries) == 0

  @doc "Whether it knows of everything up to its highest counter, so that what it does not show is removed."
  @spec whole?(t) :: boolean
  def whole?(%__MODULE__{spans: [{from, _}]}), do: from <= 1
  def whole?(_slice), do: false

  @doc "A hash of what can be seen of it; 0 if vacant."
  @spec digest(t) :: non_neg_integer
  def digest(%__MODULE__{} = slice) do
    if vacant?(slice) do
      0
    else
      # The highest counter, because who has missed both the coming and the going of a session shows the same as its writer.
      top = Spans.highest(slice.spans)
      Digest.fnv(<<slice.incarnation::64, slice.members::64, slice.sum::64, top::64>>)
    end
  end

  @doc "The part of it that concerns the counters `from..to`; `entries` are those within, which the caller has at hand."
  @spec part(t, non_neg_integer, non_neg_integer, map) :: t
  def part(%__MODULE__{} = slice, from, to, entries) do
    %{
      slice
      | spans: Spans.clip(slice.spans, from, to),
        entries: entries,
        sum: sum(Map.keys(entries))
    }
  end

  @doc "Merges slice `b` of the same Shield into `a`; notes in `changes` what that did."
  @spec merge(t, t, binary, Changes.t()) :: {t, Changes.t()}
  def merge(%__MODULE__{incarnation: a} = mine, %__MODULE__{incarnation: b}, _shield, changes)
      when b < a do
    {mine, changes}
  end

  def merge(
        %__MODULE__{incarnation: a} = mine,
        %__MODULE__{incarnation: b} = other,
        shield,
        changes
      )
      when b > a do
    gone = for {counter, entry} <- mine.entries, do: {{shield, a, counter}, entry}
    come = for {counter, entry} <- other.entries, do: {{shield, b, counter}, entry}

    changes = %{
      changes
      | known: true,
        members: changes.members or mine.members != other.members,
        superseded: gone ++ changes.superseded,
        added: come ++ changes.added
    }

    {other, changes}
  end

  def merge(mine, other, shield, changes) do
    spans = Spans.union(mine.spans, other.spans)
    ranges = length(spans)

    if ranges > @spans_max and ranges > length(mine.spans) do
      {mine, %{changes | refused: changes.refused + 1}}
    else
      {merged, changes} = remove({mine, changes}, other, shield)
      {merged, changes} = add({merged, changes}, other, mine.spans, shield)
      {merged, changes} = members({merged, changes}, other)
      {%{merged | spans: spans}, %{changes | known: changes.known or spans != mine.spans}}
    end
  end

  defp remove({mine, changes}, other, shield) do
    highest = Spans.highest(mine.spans)

    other.spans
    |> Enum.flat_map(fn {from, to} -> within(mine.entries, from, min(to, highest)) end)
    |> Enum.reject(&is_map_key(other.entries, &1))
    |> Enum.reduce({mine, changes}, fn counter, {mine, changes} ->
      {entry, entries} = Map.pop!(mine.entries, counter)
      dot = {shield, mine.incarnation, counter}
      mine = %{mine | entries: entries, sum: Digest.add(mine.sum, -Digest.mix(counter))}

      # A remove of a counter that is known already leaves the spans as they are, and is news all the same.
      {mine, %{changes | known: true, removed: [{dot, entry} | changes.removed]}}
    end)
  end

  # The counters of entries in a stretch, by the shorter of the two ways. A delta reaches beyond all that is known, so it
  # costs nothing here.
  defp within(_entries, from, to) when from > to, do: []

  defp within(entries, from, to) when to - from < map_size(entries) do
    for counter <- from..to, is_map_key(entries, counter), do: counter
  end

  defp within(entries, from, to) do
    for {counter, _entry} <- entries, counter >= from and counter <= to, do: counter
  end

  defp add(acc, other, known, shield) do
    Enum.reduce(other.entries, acc, fn {counter, entry}, {mine, changes} ->
      if Spans.member?(known, counter) do
        {mine, changes}
      else
        dot = {shield, mine.incarnation, counter}
        sum = Digest.add(mine.sum, Digest.mix(counter))
        mine = %{mine | entries: Map.put(mine.entries, counter, entry), sum: sum}
        {mine, %{changes | added: [{dot, entry} | changes.added]}}
      end
    end)
  end

  defp members({mine, changes}, other) do
    if other.members_version > mine.members_version do
      changes = %{
        changes
        | known: true,
          members: changes.members or other.members != mine.members
      }

      {%{mine | members_version: other.members_version, members: other.members}, changes}
    else
      {mine, changes}
    end
  end

  defp sum(counters), do: Enum.reduce(counters, 0, &Digest.add(&2, Digest.mix(&1)))
end
