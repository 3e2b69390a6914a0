defmodule ArqonBrain.Store.RespTest do
  use ExUnit.Case, async: true

  alias ArqonBrain.Store.Resp

  test "commands are arrays of bulk strings" do
    assert IO.iodata_to_binary(Resp.encode(["SET", ["a", ":b"], "é\r\n"])) ==
             "*3\r\n$3\r\nSET\r\n$3\r\na:b\r\n$4\r\né\r\n\r\n"
  end

  test "every kind of reply is read, and what follows is left" do
    for {bytes, reply} <- [
          {"+OK\r\n", "OK"},
          {"-ERR no\r\n", {:error, "ERR no"}},
          {":-3\r\n", -3},
          {"$-1\r\n", nil},
          {"$0\r\n\r\n", ""},
          {"$4\r\na\r\nb\r\n", "a\r\nb"},
          {"*-1\r\n", nil},
          {"*0\r\n", []},
          {"*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n:7\r\n", ["0", ["a", 7]]}
        ] do
      assert Resp.decode(bytes <> "rest") == {:ok, reply, "rest"}

      for at <- 0..(byte_size(bytes) - 1) do
        assert {:more, missing} = Resp.decode(binary_part(bytes, 0, at))
        assert missing in 0..(byte_size(bytes) - at), "#{inspect(bytes)} at #{at}"
      end
    end
  end

  test "a large reply is looked at a few times, however small the pieces are in which it comes" do
    pieces = for at <- 0..7, word <- ["#{at}", :binary.copy(<<at>>, 512 * 1024)], do: word
    bytes = IO.iodata_to_binary(Resp.encode(pieces))

    looks = fn looks, there, n ->
      case Resp.decode(binary_part(bytes, 0, there)) do
        {:ok, reply, ""} ->
          assert reply == pieces
          n

        {:more, missing} ->
          looks.(looks, min(there + max(missing, 1_460), byte_size(bytes)), n + 1)
      end
    end

    assert looks.(looks, 0, 0) <= 3 * length(pieces)
  end

  test "what is no reply, or larger than any, is refused and never raises" do
    for bytes <- [
          "HTTP/1.1 400\r\n",
          "$x\r\n",
          "$-2\r\n",
          "$1048577\r\n",
          "*4097\r\n",
          "$3\r\nabcde\r\n",
          ":#{String.duplicate("9", 30)}\r\n",
          String.duplicate("*1\r\n", 6),
          "+" <> String.duplicate("x", 5_000)
        ] do
      assert {:error, _reason} = Resp.decode(bytes)
    end

    for seed <- 1..2_000 do
      :rand.seed(:exsss, {seed, 2, 0})

      bytes =
        for _n <- 1..:rand.uniform(20),
            into: "",
            do: Enum.random(["*", "$", "1", "-", "\r\n", "+", ":", "x", "\0"])

      assert elem(Resp.decode(bytes), 0) in [:ok, :more, :error]
    end
  end
end
