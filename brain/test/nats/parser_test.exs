defmodule ArqonBrain.Nats.ParserTest do
  use ExUnit.Case, async: true

  alias ArqonBrain.Nats.{Commands, Parser}

  defp all(chunks, payload_max \\ 1_000) do
    Enum.reduce_while(chunks, {:ok, [], Parser.new(payload_max)}, fn chunk, {:ok, done, parser} ->
      case Parser.parse(parser, chunk) do
        {:ok, messages, parser} -> {:cont, {:ok, done ++ messages, parser}}
        {:error, reason, messages} -> {:halt, {:error, reason, done ++ messages}}
      end
    end)
  end

  defp messages(chunks, payload_max \\ 1_000), do: chunks |> all(payload_max) |> elem(1)

  test "each operation is read" do
    stream =
      "INFO {\"a\":1}\r\n+OK\r\nPING\r\npong\r\n-ERR 'Stale Connection'\r\n" <>
        "MSG a.b 1 5\r\nhello\r\nmsg\ta.b  2 re.ply 0\r\n\r\n" <>
        "HMSG a.b 3 12 14\r\nNATS/1.0\r\n\r\nhi\r\nHMSG a 4 r 12 12\r\nNATS/1.0\r\n\r\n\r\n"

    assert messages([stream]) == [
             {:info, "{\"a\":1}"},
             :ok,
             :ping,
             :pong,
             {:err, "Stale Connection"},
             {:msg, "a.b", "1", nil, "hello"},
             {:msg, "a.b", "2", "re.ply", ""},
             {:msg, "a.b", "3", nil, "hi"},
             {:msg, "a", "4", "r", ""}
           ]
  end

  test "a payload above the limit is passed over and what follows is read" do
    stream =
      "MSG a 1 1001\r\n#{String.duplicate("x", 1001)}\r\nMSG a 1 1000\r\n#{String.duplicate("y", 1000)}\r\n"

    expected = [{:skipped, "a", 1001}, {:msg, "a", "1", nil, String.duplicate("y", 1000)}]
    assert messages([stream]) == expected
    assert messages(for <<byte <- stream>>, do: <<byte>>) == expected
  end

  test "a payload that is passed over is not held" do
    {:ok, [{:skipped, "a", 9_000_000_000}], parser} =
      Parser.parse(Parser.new(10), "MSG a 1 9000000000\r\n")

    {:ok, [], parser} = Parser.parse(parser, String.duplicate("x", 1_000_000))
    assert :erlang.external_size(parser) < 1_000
  end

  test "a line has an end" do
    long = String.duplicate("x", 65_530)
    assert {:ok, [{:info, ^long}], _parser} = all(["INFO " <> long <> "\r\n"])
    assert {:error, :line_too_long, [:ping]} = all(["PING\r\nINFO " <> long, long])
    assert {:error, :line_too_long, []} = all(["INFO " <> long <> "xx\r\n"])
  end

  test "what is not the protocol ends the stream, after what came before" do
    for bad <- [
          "HTTP/1.1 400 Bad Request\r\n",
          "MSG a 1\r\n",
          "MSG a 1 -5\r\n",
          "MSG a 1 +5\r\nhello\r\n",
          "MSG a 1 5x\r\n",
          "MSG a 1 99999999999\r\n",
          "MSG a 1 r s 5\r\n",
          "HMSG a 1 9 5\r\n",
          "MSG a 1 3\r\nhello\r\n",
          "\r\n"
        ] do
      assert {:error, {:not_nats, _what}, [:ping]} = all(["PING\r\n" <> bad])
    end
  end

  test "any cut of the stream gives the same messages" do
    for seed <- 1..300 do
      :rand.seed(:exsss, {seed, 0, 0})
      {stream, expected} = stream()
      assert {seed, messages(cut(stream))} == {seed, expected}
    end
  end

  test "no bytes raise" do
    for seed <- 1..500 do
      :rand.seed(:exsss, {seed, 1, 0})
      {stream, _expected} = stream()
      assert elem(all(cut(harm(stream))), 0) in [:ok, :error]
      assert elem(all(cut(:rand.bytes(200))), 0) in [:ok, :error]
    end
  end

  test "a subject cannot smuggle another command" do
    assert Commands.subject?("_arqon.shield.s-1")

    for bad <- ["", "a b", "a\r\nPING", "a\tb", "a\0b", String.duplicate("a", 1025)],
        do: refute(Commands.subject?(bad))
  end

  defp stream do
    {bytes, messages} =
      Enum.unzip(for _message <- 1..:rand.uniform(12), do: message(:rand.uniform(7)))

    {IO.iodata_to_binary(bytes), messages}
  end

  defp message(1), do: {"PING\r\n", :ping}
  defp message(2), do: {"+OK\r\n", :ok}
  defp message(3), do: {"INFO {}\r\n", {:info, "{}"}}

  defp message(n) do
    # With ends of lines inside, which mean nothing there.
    payload =
      Enum.map_join(1..:rand.uniform(20), fn _part ->
        Enum.random(["\r\n", "\r", "MSG a 1 1\r\n", "é", "\0"])
      end)

    {reply, word} = if rem(n, 2) == 0, do: {"r.1", " r.1"}, else: {nil, ""}
    head = if n > 5, do: "NATS/1.0\r\nA: b\r\n\r\n", else: ""
    size = byte_size(head) + byte_size(payload)
    sizes = if head == "", do: "#{size}", else: "#{byte_size(head)} #{size}"
    operation = if head == "", do: "MSG", else: "HMSG"

    {"#{operation} a.b 7#{word} #{sizes}\r\n#{head}#{payload}\r\n",
     {:msg, "a.b", "7", reply, payload}}
  end

  defp cut(""), do: []

  defp cut(stream) do
    at = min(:rand.uniform(17), byte_size(stream))
    [binary_part(stream, 0, at) | cut(binary_part(stream, at, byte_size(stream) - at))]
  end

  defp harm(stream) do
    at = :rand.uniform(byte_size(stream)) - 1
    {before, <<_byte, rest::binary>>} = :erlang.split_binary(stream, at)
    before <> :rand.bytes(:rand.uniform(3) - 1) <> rest
  end
end
