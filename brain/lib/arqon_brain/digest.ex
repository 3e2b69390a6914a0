defmodule ArqonBrain.Digest do
  @moduledoc """
  FNV-1a with 64 bits and the end of SplitMix64: good enough to notice a difference, no protection against malice.

  A running hash is a pair of 32-bit halves, because a product of 64 bits would be a number on the heap for each byte.
  """

  import Bitwise

  @typedoc "A running hash."
  @type t :: {0..0xFFFFFFFF, 0..0xFFFFFFFF}

  @mask64 0xFFFFFFFFFFFFFFFF

  @doc "The hash of nothing."
  @spec new() :: t
  def new, do: {0xCBF29CE4, 0x84222325}

  @doc "Goes on with the bytes of a binary."
  @spec bytes(t, binary) :: t
  def bytes({hi, lo}, binary), do: fold(binary, hi, lo)

  @doc "Goes on with a number as eight big-endian bytes."
  @spec number(t, non_neg_integer) :: t
  def number(hash, number), do: bytes(hash, <<number::64>>)

  @doc "The hash as a number."
  @spec finish(t) :: non_neg_integer
  def finish({hi, lo}), do: hi <<< 32 ||| lo

  @doc "The hash of one binary."
  @spec fnv(binary) :: non_neg_integer
  def fnv(binary), do: finish(bytes(new(), binary))

  @doc "Spreads a number over 64 bits, so that sums of it differ where the sets do."
  @spec mix(non_neg_integer) :: non_neg_integer
  def mix(z) do
    z = bxor(z, z >>> 30) * 0xBF58476D1CE4E5B9 &&& @mask64
    z = bxor(z, z >>> 27) * 0x94D049BB133111EB &&& @mask64
    bxor(z, z >>> 31)
  end

  @doc "Sum modulo 2^64."
  @spec add(non_neg_integer, integer) :: non_neg_integer
  def add(a, b), do: a + b &&& @mask64

  @doc "All bits inverted."
  @spec invert(non_neg_integer) :: non_neg_integer
  def invert(digest), do: bxor(digest, @mask64)

  @doc "What one room adds to the digest over all rooms of a Shield."
  @spec term(binary, non_neg_integer) :: non_neg_integer
  def term(_subject, 0), do: 0

  def term(subject, digest) do
    new() |> bytes(subject) |> bytes(<<0>>) |> number(digest) |> finish() |> mix()
  end

  # The prime is 2^40 + 0x1b3: the first part is a shift by 40 bits, of which only the low half's lowest 24 stay.
  defp fold(<<byte, rest::binary>>, hi, lo) do
    lo = bxor(lo, byte)
    low = lo * 0x1B3
    hi = hi * 0x1B3 + (low >>> 32) + ((lo &&& 0xFFFFFF) <<< 8) &&& 0xFFFFFFFF
    fold(rest, hi, low &&& 0xFFFFFFFF)
  end

  defp fold(<<>>, hi, lo), do: {hi, lo}
end
