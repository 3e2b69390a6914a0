defmodule ArqonBrain.Wire.PagesTest do
  use ExUnit.Case, async: true

  alias ArqonBrain.Gen
  alias ArqonBrain.Presence.Index
  alias ArqonBrain.Slice
  alias ArqonBrain.Wire.{Message, Pages}

  defp size(body), do: byte_size(Message.encode({"brain-0", 1}, body))

  test "pages of digests follow each other without a hole and fit a message" do
    Gen.check(20, fn ->
      name = fn ->
        "acme." <> String.duplicate("x", Gen.int(1..60)) <> "#{Gen.int(1..1_000_000)}"
      end

      rooms = Gen.list(0..1500, fn -> {name.(), Gen.int(1..9)} end) |> Map.new() |> Enum.sort()
      pages = Pages.digests(rooms, 77)
      assert Enum.all?(pages, &(size(&1) <= 32 * 1024))

      assert for({:digests, page} <- pages, room <- page.rooms, do: {room.subject, room.digest}) ==
               rooms

      bodies = Enum.map(pages, &elem(&1, 1))
      assert hd(bodies).after == "" and List.last(bodies).upto == ""
      for [a, b] <- Enum.chunk_every(bodies, 2, 1, :discard), do: assert(a.upto == b.after)

      assert Enum.map(bodies, &Map.get(&1, :shared, 0)) ==
               List.duplicate(0, length(bodies) - 1) ++ [77]
    end)
  end

  test "what differs is found by pages, however they are cut" do
    Gen.check(100, fn ->
      random = fn ->
        Map.new(Gen.list(0..20, fn -> {"acme.r#{Gen.int(1..15)}", Gen.int(0..2)} end))
      end

      {mine, theirs} = {random.(), random.()}

      whole = Index.differing(Enum.sort(mine), theirs)
      cut = "acme.r#{Gen.int(1..15)}"

      part = fn map, fits ->
        map |> Enum.filter(fn {subject, _} -> fits.(subject) end) |> Enum.sort()
      end

      low = &(&1 <= cut)
      high = &(&1 > cut)

      parts =
        for fits <- [low, high],
            subject <- Index.differing(part.(mine, fits), Map.new(part.(theirs, fits))),
            do: subject

      assert Enum.sort(parts) == Enum.sort(whole)

      model =
        for subject <- Enum.uniq(Map.keys(mine) ++ Map.keys(theirs)),
            Map.get(mine, subject, 0) != Map.get(theirs, subject, 0),
            do: subject

      assert Enum.sort(whole) == Enum.sort(model)
    end)
  end

  test "the index of a Shield's slices is what its slices say" do
    Gen.check(100, fn ->
      {index, slices} =
        Enum.reduce(1..Gen.int(1..40), {%{}, %{}}, fn _, {index, slices} ->
          {shield, subject} = key = {"s#{Gen.int(1..2)}", "acme.r#{Gen.int(1..5)}"}

          if Gen.int(0..4) == 0 do
            {Index.delete(index, shield, subject), Map.delete(slices, key)}
          else
            spans = Gen.one([[], [{1, 5}], [{1, 2}, {4, 5}]])

            entries =
              if spans != [] and Gen.int(0..1) == 0,
                do: %{5 => {"ann", <<1::128>>, ""}},
                else: %{}

            slice = Slice.new(Gen.int(1..2), spans, entries, 1, Gen.int(0..1))
            {_, before} = Map.get(slices, key, {nil, 0})
            {index, noted} = Index.put(index, shield, subject, slice, before)
            {index, Map.put(slices, key, {slice, noted})}
          end
        end)

      for shield <- ["s1", "s2"] do
        noted =
          for {{^shield, subject}, {slice, _}} <- Enum.sort(slices) do
            digest = Slice.digest(slice)
            {subject, if(Slice.whole?(slice), do: digest, else: ArqonBrain.Digest.invert(digest))}
          end

        assert Index.page(index, shield, "", "") == noted

        sum =
          for {subject, digest} <- noted,
              reduce: 0,
              do: (sum -> ArqonBrain.Digest.add(sum, ArqonBrain.Digest.term(subject, digest)))

        assert Index.sum(index, shield) == sum
        assert Index.subjects(index, shield) == Enum.map(noted, &elem(&1, 0))

        within =
          for {subject, _} = one <- noted, subject > "acme.r2" and subject <= "acme.r4", do: one

        assert Index.page(index, shield, "acme.r2", "acme.r4") == within
      end
    end)
  end
end
