defmodule ArqonBrain.NamesTest do
  use ExUnit.Case, async: true

  alias ArqonBrain.Names

  test "names outside the grammar are refused" do
    for bad <- ["", "_x", "$SYS", "a.b", "a b", "é", "a*", ">", "a\n", String.duplicate("a", 65)] do
      refute Names.tenant?(bad), inspect(bad)
    end

    for bad <- [
          "",
          ".",
          "a.",
          ".a",
          "a..b",
          "*",
          ">",
          "a.*",
          "a b",
          "é",
          "a\0",
          "1.2.3.4.5.6.7.8.9"
        ] do
      refute Names.room?(bad), inspect(bad)
    end

    refute Names.room?(String.duplicate("a", 65))

    long =
      Enum.map_join(["a", "b", "c"], ".", &String.duplicate(&1, 64)) <>
        "." <> String.duplicate("d", 63)

    refute Names.room?(long), "258 bytes"

    assert Names.room?("lobby") and Names.room?("1.2.3.4.5.6.7.8") and
             Names.room?(String.duplicate("a", 64))

    assert Names.tenant?("a") and Names.tenant?(String.duplicate("a", 64))
    refute Names.subject?("_arqon.brain")
    assert Names.subject?("acme.chat.lobby")
    refute Names.user?("a\u007f")
    assert Names.user?("änn b")
  end

  test "patterns cover whole tokens" do
    assert Names.covers?("lobby", "lobby")
    refute Names.covers?("lobby", "lobby.a") or Names.covers?("lobby", "lobb")
    assert Names.covers?("chat.*", "chat.a")
    refute Names.covers?("chat.*", "chat") or Names.covers?("chat.*", "chat.a.b")
    assert Names.covers?("chat.>", "chat.a.b") and Names.covers?(">", "x.y")
    refute Names.covers?("chat.>", "chat")
    for bad <- ["", "a..b", ">.a", "a*", "a b", "$x"], do: refute(Names.pattern?(bad), bad)
    for good <- ["*", ">", "a.*.b", "a.>"], do: assert(Names.pattern?(good), good)
  end
end
