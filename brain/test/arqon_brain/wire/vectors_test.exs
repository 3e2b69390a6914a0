defmodule ArqonBrain.Wire.VectorsTest do
  use ExUnit.Case, async: true

  alias ArqonBrain.{Gen, RoomState, Slice, Vectors}
  alias ArqonBrain.Wire.{Message, Protobuf}

  test "the golden bytes are what this code writes and reads" do
    vectors = Vectors.messages()
    assert length(vectors) >= 19

    for {name, kind, bytes, control} <- vectors do
      assert {:ok, ^control} = Protobuf.decode(:control, bytes), name
      assert IO.iodata_to_binary(Protobuf.encode(:control, control)) == bytes, name

      assert {:ok, %{from: "shield-1", instance: 77, incarnation: 3, body: {^kind, _}}} =
               Message.decode(bytes),
             name
    end
  end

  test "the golden digests are what this code computes" do
    d = Vectors.read()["digests"]
    counters = Enum.map(d["counters"], &String.to_integer/1)
    entries = Map.new(counters, &{&1, {"ann", <<1::128>>, ""}})
    highest = Enum.max(counters)
    incarnation = String.to_integer(d["incarnation"])
    slice = Slice.new(incarnation, [{1, highest}], entries, 4, String.to_integer(d["members"]))
    assert Slice.digest(slice) == String.to_integer(d["slice"])

    assert RoomState.digest(RoomState.new(%{d["shield"] => slice})) ==
             String.to_integer(d["room"])
  end

  test "no bytes make the decoder raise" do
    vectors = for {_, _, bytes, _} <- Vectors.messages(), do: bytes

    Gen.check(4000, fn ->
      bytes = if Gen.int(0..3) == 0, do: Gen.bytes(0..200), else: Gen.mutate(Gen.one(vectors))

      case Message.decode(bytes) do
        :error ->
          :ok

        {:ok, %{from: from, body: body}} ->
          assert byte_size(from) in 1..64
          assert body == :malformed or match?({kind, _fields} when is_atom(kind), body)
      end
    end)
  end

  test "what decodes is written and read as the same" do
    vectors = for {_, _, bytes, _} <- Vectors.messages(), do: bytes

    Gen.check(2000, fn ->
      with {:ok, control} <- Protobuf.decode(:control, Gen.mutate(Gen.one(vectors))) do
        assert {:ok, ^control} =
                 Protobuf.decode(
                   :control,
                   IO.iodata_to_binary(Protobuf.encode(:control, control))
                 )
      end
    end)
  end

  test "what is remembered does not keep the message in memory" do
    for {name, _, bytes, _} <- Vectors.messages() do
      {:ok, control} = Protobuf.decode(:control, bytes <> :binary.copy(<<0xA2, 0x06, 0>>, 100))

      for text <- texts(control),
          do: assert(:binary.referenced_byte_size(text) == byte_size(text), name)
    end
  end

  defp texts(text) when is_binary(text), do: [text]
  defp texts(list) when is_list(list), do: Enum.flat_map(list, &texts/1)
  defp texts(map) when is_map(map), do: map |> Map.values() |> texts()
  defp texts(tuple) when is_tuple(tuple), do: tuple |> Tuple.to_list() |> texts()
  defp texts(_other), do: []

  describe "rules of the wire" do
    test "a message that is too large is not even read" do
      filler = String.duplicate("x", 64 * 1024)
      # Field 100, which nobody knows.
      large = <<0xA2, 0x06>> <> varint(byte_size(filler)) <> filler
      assert {:ok, _} = Protobuf.decode(:control, large)
      assert :error = Message.decode(Message.encode({"brain-0", 1}, {:resync, %{}}) <> large)
    end

    test "unknown fields are skipped, wrong wire types are not" do
      hello = Message.encode({"s", 1}, {:hello, %{}})

      assert {:ok, %{body: {:hello, _}}} =
               Message.decode(hello <> <<0xA2, 0x06, 1, 7, 0xA5, 0x06, 0, 0, 0, 0>>)

      assert :error = Message.decode(hello <> <<0x11, 0::64>>)
      group = <<0xA3, 0x06, 0x08, 1, 0xA3, 0x06, 0xA4, 0x06, 0xA4, 0x06>>
      assert {:ok, %{body: {:hello, _}}} = Message.decode(hello <> group)

      for bad <- [
            <<0xA3, 0x06>>,
            <<0xA4, 0x06>>,
            <<0xA3, 0x06, 0xAC, 0x06>>,
            String.duplicate(<<0xA3, 0x06>>, 30_000)
          ] do
        assert :error = Message.decode(hello <> bad)
      end
    end

    test "a number has 64 bits and no more" do
      instance = fn bytes -> Message.decode(<<0x0A, 1, ?s, 0x10, bytes::binary, 0x22, 0>>) end
      ones = String.duplicate(<<0xFF>>, 9)
      assert {:ok, %{instance: 0xFFFFFFFFFFFFFFFF}} = instance.(ones <> <<1>>)
      assert :error = instance.(ones <> <<2>>)
      assert :error = instance.(ones <> <<0x81, 0>>)
      assert {:ok, %{instance: 1}} = instance.(<<0x81, 0x80, 0>>)
    end

    test "the last body counts, and one in two parts is one" do
      two = Message.encode({"s", 1}, {:hello, %{}}) <> <<0x32, 0>>
      assert {:ok, %{body: {:bye, _}}} = Message.decode(two)

      part = fn shields ->
        {:beacon, %{shields: Enum.map(shields, &%{shield: &1, incarnation: 1})}}
      end

      twice =
        Message.encode({"s", 1}, part.(["a"])) <> Message.encode({"s", 1}, part.(["b", "c"]))

      assert {:ok, %{body: {:beacon, beacon}}} = Message.decode(twice)
      assert Enum.map(beacon.shields, & &1.shield) == ["a", "b", "c"]
    end

    test "a broken body is told apart from a broken envelope" do
      assert {:ok, %{from: "s", body: :malformed}} =
               Message.decode(
                 Message.encode({"s", 1}, {:close_refused, %{subject: "_arqon.brain"}})
               )

      assert :error = Message.decode(Message.encode({"_s", 1}, {:hello, %{}}))
      assert :error = Message.decode(<<>>)
    end

    test "every bound of a slice is checked" do
      entry = %{counter: 1, user: "ann", session: <<1::128>>, meta: "1"}

      slice = %{
        shield: "s",
        incarnation: 1,
        spans: [%{from: 1, to: 1}],
        entries: [entry],
        members: 1
      }

      assert {:update, [{"a.b", _}]} = body(slice)

      for bad <- [
            %{slice | spans: []},
            %{slice | spans: [%{from: 0, to: 1}]},
            %{slice | spans: [%{from: 2, to: 1}]},
            %{slice | spans: for(i <- 1..67, do: %{from: 2 * i - 1, to: 2 * i - 1})},
            %{slice | entries: [%{entry | user: ""}]},
            %{slice | entries: [%{entry | user: String.duplicate("u", 129)}]},
            %{slice | entries: [%{entry | user: "a\n"}]},
            %{slice | entries: [%{entry | user: "a\u0085"}]},
            %{slice | entries: [%{entry | session: <<1::120>>}]},
            %{slice | entries: [%{entry | meta: String.duplicate("1", 4097)}]},
            %{slice | members: 0x1_0000_0000},
            %{slice | shield: "-s"}
          ] do
        assert body(bad) == :malformed, inspect(bad)
      end
    end

    defp body(slice) do
      message =
        Message.encode({"s", 1}, {:update, %{rooms: [%{subject: "a.b", slices: [slice]}]}})

      assert {:ok, %{body: body}} = Message.decode(message)
      body
    end
  end

  defp varint(n) when n < 0x80, do: <<n>>
  defp varint(n), do: <<1::1, n::7, varint(Bitwise.bsr(n, 7))::binary>>
end
