defmodule Mix.Tasks.Arqon.LintTest do
  use ExUnit.Case, async: true

  alias Mix.Tasks.Arqon.Lint

  defp module(body), do: "defmodule A do\n  @moduledoc \"An A.\"\n#{body}\nend\n"

  test "a documented module with specified functions is fine" do
    text =
      module(
        "@spec a(x) :: x when x: var\ndef a(x) when x > 1, do: x\ndef a(x), do: x\n@impl true\ndef b, do: 1\ndefp c, do: 2"
      )

    assert Lint.check("lib/a.ex", text) == []
  end

  test "what is missing is found, with its place" do
    assert Lint.check("lib/a.ex", "defmodule A do\n  def a, do: 1\nend") ==
             ["lib/a.ex:1: A has no @moduledoc", "lib/a.ex:2: A.a/0 has no @spec"]

    assert Lint.check("lib/a.ex", module("@spec a(1) :: 1\ndef a, do: 1")) == [
             "lib/a.ex:4: A.a/0 has no @spec"
           ]

    assert Lint.check("test/support/a.ex", module("def a, do: 1")) == []

    assert ["lib/a.ex:1: A has no @moduledoc"] =
             Lint.check("lib/a.ex", "defmodule A do\n@moduledoc false\nend")
  end

  test "what is long is found" do
    lines = &String.duplicate("    1\n", &1)

    assert Lint.check("test/a_test.exs", "defmodule A do\n  def a do\n#{lines.(68)}  end\nend\n") ==
             []

    assert ["test/a_test.exs:2: a/0 has 71 lines, " <> _] =
             Lint.check(
               "test/a_test.exs",
               "defmodule A do\n  def a do\n#{lines.(69)}  end\nend\n"
             )

    assert Lint.check("a.exs", String.duplicate("# x\n", 400)) == []
    assert ["a.exs: 401 lines, at most 400"] = Lint.check("a.exs", String.duplicate("# x\n", 401))
  end

  test "sleeping, the environment and what is left over are found" do
    calls = [
      "Process" <> ".sleep(1)",
      ":timer" <> ".sleep(1)",
      "System" <> ".get_env(\"A\")",
      "IO" <> ".inspect(1)"
    ]

    for call <- calls do
      assert [_one] = Lint.check("lib/a.ex", module("defp a, do: #{call}"))
      assert [_one] = Lint.check("test/a_test.exs", module("defp a, do: #{call}"))
    end
  end
end
