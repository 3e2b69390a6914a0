defmodule ArqonBrain.Gen do
  @moduledoc """
  Random values for property tests, from a seed that the failing test prints.

  Small on purpose: no library for it can be had here without hex.
  """

  import ExUnit.Assertions

  @doc "Runs a property with `runs` random states; says the seed of the one that failed."
  @spec check(pos_integer, fun) :: :ok
  def check(runs, property) do
    base = ExUnit.configuration()[:seed] || 0

    for run <- 1..runs do
      seed = base * 1_000_003 + run
      :rand.seed(:exsss, seed)

      try do
        property.()
      rescue
        error ->
          reraise(
            ExUnit.AssertionError,
            [message: "seed #{seed}: " <> Exception.message(error)],
            __STACKTRACE__
          )
      end
    end

    :ok
  end

  @doc "A number of `range`."
  @spec int(Range.t()) :: integer
  def int(first..last//_), do: first + :rand.uniform(last - first + 1) - 1

  @doc "One of a list."
  @spec one([value]) :: value when value: term
  def one(values), do: Enum.at(values, int(0..(length(values) - 1)))

  @doc "A list of `range` many."
  @spec list(Range.t(), fun) :: [term]
  def list(range, fun) do
    case int(range) do
      0 -> []
      n -> for _ <- 1..n, do: fun.()
    end
  end

  @doc "Random bytes."
  @spec bytes(Range.t()) :: binary
  def bytes(range), do: :rand.bytes(int(range))

  @doc "The list in another order."
  @spec shuffle([value]) :: [value] when value: term
  def shuffle(values),
    do: values |> Enum.map(&{:rand.uniform(), &1}) |> Enum.sort() |> Enum.map(&elem(&1, 1))

  @doc "The bytes with a few of them changed, cut out or added."
  @spec mutate(binary) :: binary
  def mutate(bytes) do
    assert is_binary(bytes)

    Enum.reduce(1..int(1..4), bytes, fn _, bytes ->
      mutate_once(bytes, int(0..max(byte_size(bytes) - 1, 0)))
    end)
  end

  defp mutate_once("", _at), do: bytes(1..3)

  defp mutate_once(bytes, at) do
    {before, <<byte, rest::binary>>} = :erlang.split_binary(bytes, at)

    case int(0..3) do
      0 -> before <> <<Bitwise.bxor(byte, Bitwise.bsl(1, int(0..7)))>> <> rest
      1 -> before <> rest
      2 -> before <> bytes(1..9) <> <<byte>> <> rest
      3 -> before
    end
  end
end
