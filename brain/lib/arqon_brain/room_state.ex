defmodule ArqonBrain.RoomState do
  @moduledoc """
  The presence of one room as an add-wins observed-remove map: a slice per Shield. Also a delta of it, or a page of it.

  Merging is commutative, associative and idempotent, so order, repetition and delay of messages do not matter.
  """

  alias ArqonBrain.{Changes, Digest, Slice}

  @type t :: %__MODULE__{slices: %{optional(binary) => Slice.t()}, size: non_neg_integer}

  # `size` counts the entries of all slices, so that a bound on them costs nothing.
  defstruct slices: %{}, size: 0

  @doc "A state, or delta, of these slices."
  @spec new(%{optional(binary) => Slice.t()}) :: t
  def new(slices) do
    %__MODULE__{
      slices: slices,
      size: slices |> Map.values() |> Enum.map(&map_size(&1.entries)) |> Enum.sum()
    }
  end

  @doc "Merges a state or a delta and says what it changed."
  @spec merge(t, t) :: {t, Changes.t()}
  def merge(state, other) do
    Enum.reduce(other.slices, {state, %Changes{}}, fn {shield, slice}, {state, changes} ->
      merge_slice(state, shield, slice, changes)
    end)
  end

  @doc "As `merge/2`, for one slice; notes in `changes` what it did."
  @spec merge_slice(t, binary, Slice.t(), Changes.t()) :: {t, Changes.t()}
  def merge_slice(%__MODULE__{slices: slices} = state, shield, slice, changes) do
    {mine, changes} =
      case slices do
        %{^shield => mine} -> {mine, changes}
        _ -> {Slice.new(slice.incarnation), %{changes | known: true}}
      end

    before = map_size(mine.entries)
    {mine, changes} = Slice.merge(mine, slice, shield, changes)
    # One that is refused by a fresh slice leaves a fresh slice, as in the reference.
    size =
      state.size + map_size(mine.entries) - if(is_map_key(slices, shield), do: before, else: 0)

    {%{state | slices: Map.put(slices, shield, mine), size: size}, changes}
  end

  @doc "Drops what a Shield wrote."
  @spec drop(t, binary) :: t
  def drop(%__MODULE__{} = state, shield) do
    case Map.pop(state.slices, shield) do
      {nil, _slices} -> state
      {slice, slices} -> %{state | slices: slices, size: state.size - map_size(slice.entries)}
    end
  end

  @doc "Whether no Shield has anybody here, tracked or not."
  @spec vacant?(t) :: boolean
  def vacant?(state), do: Enum.all?(state.slices, fn {_, slice} -> Slice.vacant?(slice) end)

  @doc "A hash of what can be seen of it; 0 if it is vacant."
  @spec digest(t) :: non_neg_integer
  def digest(state) do
    state.slices
    |> Enum.map(fn {shield, slice} -> {shield, Slice.digest(slice)} end)
    |> digest_of()
  end

  @doc "As `digest/1`, of the digests of slices."
  @spec digest_of([{binary, non_neg_integer}]) :: non_neg_integer
  def digest_of(digests) do
    case digests |> Enum.reject(fn {_, digest} -> digest == 0 end) |> Enum.sort() do
      [] ->
        0

      digests ->
        digests
        |> Enum.reduce(Digest.new(), fn {shield, digest}, hash ->
          hash |> Digest.bytes(shield) |> Digest.bytes(<<0>>) |> Digest.number(digest)
        end)
        |> Digest.finish()
    end
  end

  @doc "Entries of all Shields with their dots."
  @spec entries(t) :: [{Changes.dot(), Slice.entry()}]
  def entries(state) do
    for {shield, slice} <- state.slices, {counter, entry} <- slice.entries do
      {{shield, slice.incarnation, counter}, entry}
    end
  end
end
