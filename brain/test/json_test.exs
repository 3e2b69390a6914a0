defmodule ArqonBrain.JsonTest do
  use ExUnit.Case, async: true

  alias ArqonBrain.Json

  defp text(value), do: value |> Json.encode() |> IO.iodata_to_binary()

  test "values come back as they were" do
    for value <- [
          nil,
          true,
          false,
          0,
          -7,
          18_446_744_073_709_551_615,
          1.5,
          "",
          "a\"\\\n\0é🙂",
          [],
          %{},
          [1, [2, %{"a" => [nil]}]],
          %{"b" => %{"c" => "d"}, "a" => 1}
        ] do
      assert Json.decode(text(value)) == {:ok, value}
    end
  end

  test "keyword lists keep their order, and what is no UTF-8 is replaced" do
    assert text(b: 1, a: [[c: true]]) == ~S({"b":1,"a":[{"c":true}]})
    assert text("a" <> <<0xFF>>) == "\"a\uFFFD\""
  end

  test "everything that the grammar has is read" do
    assert Json.decode(~S( { "a" : [ 1 , -2.5e3, 1E2 ] , "b":"\u00e9\ud83d\ude42\/\b" } )) ==
             {:ok, %{"a" => [1, -2500.0, 100.0], "b" => "é🙂/\b"}}
  end

  test "anything else is refused and never raises" do
    for bad <- [
          "",
          "{",
          "[1,]",
          "{\"a\":1,}",
          "{a:1}",
          "01",
          "1.",
          "+1",
          "nul",
          "\"\n\"",
          ~S("\x"),
          ~S("\ud800"),
          ~S("\ud800\u0041"),
          ~S("\udc00"),
          ~S("\u12g4"),
          "1 2",
          "1e999",
          String.duplicate("9", 50),
          String.duplicate("[", 100),
          "\"" <> <<0xFF>> <> "\""
        ] do
      assert {bad, Json.decode(bad)} == {bad, :error}
    end

    for seed <- 1..2_000 do
      :rand.seed(:exsss, {seed, 3, 0})

      words = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "a",
        "\\",
        "1",
        "-",
        ".",
        "e",
        "null",
        " ",
        <<0xC3>>
      ]

      bytes = Enum.map_join(1..:rand.uniform(12), fn _n -> Enum.random(words) end)
      assert match?({:ok, _value}, Json.decode(bytes)) or Json.decode(bytes) == :error
    end
  end
end
