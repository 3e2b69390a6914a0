defmodule ArqonBrain.SpansTest do
  use ExUnit.Case, async: true

  alias ArqonBrain.{Gen, Spans}

  test "spans are a set in normal form" do
    Gen.check(500, fn ->
      ranges = Gen.list(0..12, fn -> {Gen.int(0..40), Gen.int(0..8)} end)

      spans =
        Enum.reduce(ranges, [], fn {from, len}, spans -> Spans.insert(spans, from, from + len) end)

      model = for {from, len} <- ranges, n <- from..(from + len), into: MapSet.new(), do: n
      {from, to} = {Gen.int(0..50), Gen.int(0..50)}
      clipped = Spans.clip(spans, from, to)

      for n <- 0..50 do
        assert Spans.member?(spans, n) == MapSet.member?(model, n)
        assert Spans.member?(clipped, n) == (MapSet.member?(model, n) and n >= from and n <= to)
      end

      for [{_, a}, {b, _}] <- Enum.chunk_every(spans, 2, 1, :discard), do: assert(a + 1 < b)
      assert Spans.highest(spans) == Enum.max(model, fn -> 0 end)
      assert Spans.union(clipped, spans) == spans
    end)
  end

  test "the ends of the number line" do
    max = 0xFFFFFFFFFFFFFFFF

    assert [] |> Spans.insert(max, max) |> Spans.insert(0, 0) |> Spans.insert(1, max - 1) == [
             {0, max}
           ]

    assert Spans.insert([{0, 3}], 5, 4) == [{0, 3}]
    assert Spans.range(2, 1) == []
  end
end
