defmodule ArqonBrain.LawsTest do
  @moduledoc "The laws of the replicated map, on states and deltas that real writers produce."
  use ExUnit.Case, async: true

  alias ArqonBrain.{Changes, Gen, RoomState, Slice, View, Writer}
  alias ArqonBrain.Wire.{Message, Pages}

  defp run(ops) do
    writers = Map.new(0..2, &{&1, %Writer{}})

    {writers, sent} =
      Enum.reduce(1..ops, {writers, []}, fn _, {writers, sent} ->
        at = Gen.int(0..2)
        {writer, messages} = op(writers[at], Gen.int(0..19))

        {Map.put(writers, at, writer),
         sent ++ Enum.map(messages, &RoomState.new(%{"shield-#{at}" => &1}))}
      end)

    {sent,
     RoomState.new(Map.new(writers, fn {at, writer} -> {"shield-#{at}", Writer.full(writer)} end))}
  end

  defp op(w, n) when n < 6 do
    session = Gen.int(0..2)
    {Writer.track(w, "user-#{rem(session, 2)}", <<session::128>>, "#{Gen.int(0..2)}"), []}
  end

  defp op(w, n) when n < 9, do: {Writer.untrack(w, <<Gen.int(0..2)::128>>), []}
  defp op(w, n) when n < 11, do: {Writer.members(w, Gen.int(0..3)), []}
  defp op(w, 11), do: {Writer.elsewhere(w), []}

  defp op(w, n) when n < 18 do
    {delta, w} = Writer.delta(w)
    {w, [delta]}
  end

  defp op(w, 18), do: {w, [Writer.full(w)]}
  defp op(w, 19), do: {Writer.restart(w), []}

  defp merged(states) do
    Enum.reduce(states, %RoomState{}, fn state, all ->
      {all, %Changes{refused: 0}} = RoomState.merge(all, state)
      all
    end)
  end

  test "order, repetition and grouping do not matter" do
    Gen.check(300, fn ->
      {sent, truth} = run(Gen.int(1..40))
      straight = merged(sent)
      assert merged(Gen.shuffle(sent ++ sent)) == straight
      {left, right} = Enum.split(sent, Gen.int(0..length(sent)))
      assert merged([merged(left), merged(right)]) == straight
      assert merged([merged(right), merged(left)]) == straight
      assert merged([straight, truth]) == merged([truth, straight])
      assert RoomState.entries(merged([straight, truth])) == RoomState.entries(truth)
      assert RoomState.digest(merged([straight, truth])) == RoomState.digest(truth)
    end)
  end

  test "what a merge says it did is what it did" do
    Gen.check(200, fn ->
      {sent, _truth} = run(Gen.int(1..40))

      Enum.reduce(Gen.shuffle(sent), %RoomState{}, fn message, state ->
        {after_, changes} = RoomState.merge(state, message)
        gone = Enum.map(changes.removed ++ changes.superseded, &elem(&1, 0))

        told =
          state
          |> RoomState.entries()
          |> Map.new()
          |> Map.drop(gone)
          |> Map.merge(Map.new(changes.added))

        assert told == Map.new(RoomState.entries(after_))
        assert after_.size == map_size(told)
        assert changes.known or after_ == state
        for {_, slice} <- after_.slices, do: assert(slice == fresh(slice), "the running sum")
        after_
      end)
    end)
  end

  defp fresh(slice) do
    Slice.new(slice.incarnation, slice.spans, slice.entries, slice.members_version, slice.members)
  end

  test "a remove wins over its add even if it comes first" do
    w = Writer.track(%Writer{}, "ann", <<1::128>>, "1")
    {add, w} = Writer.delta(w)
    {remove, _w} = w |> Writer.untrack(<<1::128>>) |> Writer.delta()
    [add, remove] = Enum.map([add, remove], &RoomState.new(%{"s" => &1}))
    assert merged([remove, add]).size == 0
    assert merged([add, remove]) == merged([remove, add])
  end

  test "a cloud that is too large is refused and leaves the slice as it was" do
    dots = for i <- 1..64, do: RoomState.new(%{"s" => Slice.new(1, [{2 * i, 2 * i}], %{}, 0, 0)})
    full = merged(dots)

    more =
      RoomState.new(%{"s" => Slice.new(1, [{200, 200}], %{200 => {"ann", <<1::128>>, ""}}, 9, 9)})

    assert {^full, %Changes{refused: 1}} = RoomState.merge(full, more)

    whole =
      RoomState.new(%{"s" => Slice.new(1, [{1, 300}], %{200 => {"ann", <<1::128>>, ""}}, 9, 9)})

    assert {%RoomState{size: 1}, %Changes{refused: 0}} = RoomState.merge(full, whole)
  end

  test "pages merge to what was cut" do
    Gen.check(20, fn ->
      rooms =
        for room <- 1..Gen.int(1..4) do
          slices =
            for shield <- 1..Gen.int(1..3), into: %{} do
              entries =
                for i <- 1..Gen.int(1..60),
                    into: %{},
                    do: {3 * i, {"user-#{i}", <<i::128>>, Gen.bytes(0..4096)}}

              {"shield-#{shield}", Slice.new(7, [{1, 200}], entries, 3, 5)}
            end

          {"acme.room-#{room}", RoomState.new(slices)}
        end

      pages = rooms |> Pages.updates() |> Enum.map(&Message.encode({"brain-0", 1}, &1))
      assert Enum.all?(pages, &(byte_size(&1) <= 32 * 1024))

      read =
        for page <- Gen.shuffle(pages),
            {:ok, %{body: {:update, parts}}} = Message.decode(page),
            {subject, part} <- parts do
          {subject, part}
        end

      for {subject, state} <- rooms do
        assert merged(for {^subject, part} <- read, do: part) == state
      end
    end)
  end

  test "a session that two Shields claim is shown by the higher dot" do
    state =
      RoomState.new(%{
        "a" =>
          Slice.new(
            9,
            [{1, 9}],
            %{9 => {"ann", <<1::128>>, "old"}, 2 => {"bob", <<3::128>>, "1"}},
            0,
            2
          ),
        "b" =>
          Slice.new(
            1,
            [{1, 9}],
            %{1 => {"ann", <<1::128>>, "new"}, 3 => {"ann", <<0::128>>, "2"}},
            0,
            3
          )
      })

    all = fn _ -> true end

    assert View.users(state, all) == [
             {"ann", [{<<0::128>>, "2"}, {<<1::128>>, "new"}]},
             {"bob", [{<<3::128>>, "1"}]}
           ]

    assert {View.count(state, all), View.members(state, all), View.occupied?(state, all)} ==
             {2, 5, true}

    only_a = &(&1 == "a")

    assert View.users(state, only_a) == [
             {"ann", [{<<1::128>>, "old"}]},
             {"bob", [{<<3::128>>, "1"}]}
           ]

    refute View.occupied?(state, fn _ -> false end)
  end
end
