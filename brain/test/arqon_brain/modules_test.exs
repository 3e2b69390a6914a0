defmodule ArqonBrain.ModulesTest do
  use ExUnit.Case, async: true

  alias ArqonBrain.Modules

  @a {:shield, "a"}
  @b {:shield, "b"}
  @size 60_000

  defp bytes(of, size \\ @size), do: :binary.copy(<<of>>, size)
  defp hash(bytes), do: :crypto.hash(:sha256, bytes)

  defp wants(all) do
    {[], modules} =
      Modules.want(%Modules{}, for(bytes <- all, do: {hash(bytes), byte_size(bytes)}))

    modules
  end

  defp holding(bytes) do
    {true, modules} = Modules.stored(wants([bytes]), hash(bytes), bytes)
    modules
  end

  defp ask(modules, holders, ms) do
    case Modules.ask(modules, holders, ms) do
      {nil, modules} -> {nil, modules}
      {holder, _want, modules} -> {holder, modules}
    end
  end

  test "it is fetched part by part from who has it" do
    bytes = bytes(1)
    owners = %{@a => %Modules{}, @b => holding(bytes)}

    fetch = fn fetch, modules, asked ->
      case Modules.ask(modules, [@a, @b], 0) do
        {nil, modules} ->
          {modules, Enum.reverse(asked)}

        {holder, want, modules} ->
          part = Modules.answer(owners[holder], want)
          asked = [{want.to, want.offset} | asked]

          case Modules.take(modules, holder, part) do
            {:ok, modules} -> fetch.(fetch, modules, asked)
            {:complete, ^bytes, modules} -> fetch.(fetch, modules, asked)
          end
      end
    end

    {modules, asked} = fetch.(fetch, wants([bytes]), [])
    assert asked == [{"a", 0}, {"b", 0}, {"b", 24_576}, {"b", 49_152}]
    assert Modules.missing(modules) == []
    assert Modules.next_timeout(modules) == nil
  end

  test "who is silent has two more turns, and after the last there is a rest" do
    holders = [@a, :brains]
    {@a, modules} = ask(wants([bytes(1)]), holders, 0)
    assert {nil, modules} = ask(modules, holders, 999)
    assert Modules.next_timeout(modules) == 1_000

    modules =
      for turn <- 1..5, reduce: modules do
        modules ->
          {holder, modules} = ask(modules, holders, 1_000 * turn)
          assert holder == Enum.at(holders, rem(turn, 2))
          modules
      end

    {nil, modules} = ask(modules, holders, 6_000)
    assert Modules.next_timeout(modules) == 6_250
    assert {nil, modules} = ask(modules, holders, 6_249)
    assert {@a, modules} = ask(modules, holders, 6_250)

    modules =
      for turn <- 1..5, reduce: modules do
        modules ->
          {holder, modules} = ask(modules, holders, 6_250 + 1_000 * turn)
          assert holder
          modules
      end

    {nil, modules} = ask(modules, holders, 12_250)
    assert Modules.next_timeout(modules) == 12_750
  end

  test "what nobody has keeps no other waiting" do
    {lost, there} = {bytes(1), bytes(2)}
    {@a, want, modules} = Modules.ask(wants([lost, there]), [@a], 0)
    none = Modules.answer(holding(there), want)
    assert none.data == ""
    {:ok, modules} = Modules.take(modules, @a, none)
    {@a, want, _modules} = Modules.ask(modules, [@a], 0)
    assert want.module == hash(there)
  end

  test "only what was asked for is taken, and only if the hash agrees" do
    bytes = bytes(1)
    {@a, want, modules} = Modules.ask(wants([bytes]), [@a, @b], 0)
    part = Modules.answer(holding(bytes), want)
    assert {:ok, ^modules} = Modules.take(modules, @b, part)
    assert {:ok, ^modules} = Modules.take(modules, {:brain, "a"}, part)
    assert {:ok, ^modules} = Modules.take(modules, @a, %{part | offset: 1})
    {:malformed, modules} = Modules.take(modules, @a, %{part | data: bytes(1, 24_577)})

    {modules, results} =
      for offset <- [0, 24_576, 49_152], reduce: {modules, []} do
        {modules, results} ->
          {@b, want, modules} = Modules.ask(modules, [@a, @b], 1)
          assert want.offset == offset
          lie = bytes(7, min(24_576, @size - offset))
          {result, modules} = Modules.take(modules, @b, %{part | offset: offset, data: lie})
          {modules, [result | results]}
      end

    assert results == [:malformed, :ok, :ok]
    assert Modules.missing(modules) == [hash(bytes)]
    assert {nil, _modules} = Modules.ask(modules, [@a, @b], 2)
  end

  test "what is named no more is forgotten" do
    bytes = bytes(1)
    {gone, modules} = Modules.want(holding(bytes), [])
    assert gone == [hash(bytes)]
    assert modules.held == %{}
  end

  test "what was written down is taken if it is what its name says" do
    bytes = bytes(1)
    {@a, _want, modules} = Modules.ask(wants([bytes]), [@a], 0)
    assert {false, ^modules} = Modules.stored(modules, hash(bytes), bytes(2))
    assert {false, ^modules} = Modules.stored(modules, hash(bytes(2)), bytes(2))
    assert {true, modules} = Modules.stored(modules, hash(bytes), bytes)
    assert modules.fetch == nil
    assert {false, ^modules} = Modules.stored(modules, hash(bytes), bytes)
  end

  test "Brains that do not have it say nothing when all are asked" do
    bytes = bytes(1)
    {:brains, want, modules} = Modules.ask(wants([bytes]), [:brains], 0)
    assert want.to == ""
    assert Modules.answer(%Modules{}, want) == nil
    part = Modules.answer(holding(bytes), want)
    assert {:ok, ^modules} = Modules.take(modules, @a, part)
    assert {:ok, %{fetch: %{have: 24_576}}} = Modules.take(modules, {:brain, "brain-9"}, part)
  end
end
