defmodule ArqonBrain.DeployTest do
  @moduledoc "Modules of policies between Shields and this Brain."
  use ArqonBrain.BrainCase, async: false

  alias ArqonBrain.Directory.{Machine, State}
  alias ArqonBrain.LeaseTable
  alias ArqonBrain.Wire.Message

  setup do
    for shield <- ["s1", "s2"], do: say(shield, {:hello, %{}})
    told()
    :ok
  end

  defp hash(bytes), do: :crypto.hash(:sha256, bytes)

  defp release(bytes, fields \\ []),
    do:
      Map.merge(
        %{module: hash(bytes), size: byte_size(bytes), version: "", at_ms: 0},
        Map.new(fields)
      )

  defp deployed(name, releases), do: %{name: name, releases: releases}

  defp set(policies, version \\ 0) do
    settings = %{version: version, rooms: [], policies: policies}
    say("s1", {:ask, %{id: 5, to: "brain-0", kind: {:set, settings}}})
    told()
  end

  test "what settings name is fetched from Shields and handed on" do
    bytes = :crypto.strong_rand_bytes(30_000)
    told = set([deployed("words", [release(bytes)])])
    assert [%{error: 0}] = bodies(told, "_arqon.shield.s1", :answer)
    assert [%{to: "s1", offset: 0} = want] = bodies(told, "_arqon.shield.s1", :want)

    say("s1", {:part, %{module: want.module, offset: 0, data: binary_part(bytes, 0, 24_576)}})
    assert [%{offset: 24_576}] = bodies(told(), "_arqon.shield.s1", :want)
    rest = binary_part(bytes, 24_576, 30_000 - 24_576)
    say("s1", {:part, %{module: want.module, offset: 24_576, data: rest}})
    assert bodies(told(), "_arqon.shield.s1", :want) == []

    say("s2", {:want, %{to: "brain-0", module: want.module, offset: 24_576}})
    assert [%{data: ^rest}] = bodies(told(), "_arqon.shield.s2", :part)
    say("s2", {:want, %{to: "brain-1", module: want.module, offset: 0}})
    assert bodies(told(), "_arqon.shield.s2", :part) == []
    say("s2", {:want, %{to: "brain-0", module: hash("other"), offset: 0}})
    assert [%{data: ""}] = bodies(told(), "_arqon.shield.s2", :part)
    # Bad names of modules break nothing.
    say("s2", {:want, %{to: "brain-0", module: "short", offset: 0}})
    say("s2", {:part, %{module: "short", offset: 0, data: "x"}})
    assert told() == []
  end

  test "a module that nobody has is warned of once, and asked for again" do
    log =
      ExUnit.CaptureLog.capture_log(fn ->
        told = set([deployed("words", [release("lost")])]) ++ pass(60_000, ["s1", "s2"])
        wants = bodies(told, "_arqon.shield.s2", :want)
        # In every round each holder has three turns.
        assert length(wants) > 6
        assert Enum.uniq(wants) == [%{to: "s2", module: hash("lost"), offset: 0}]
      end)

    name = Base.encode16(hash("lost"), case: :lower)
    assert [_before, _after] = String.split(log, name)
  end

  test "what was written down of a module is written again" do
    table = %LeaseTable{lease: @lease, grace: @grace, permanent_down: 600_000, max: 1}
    now = %{mono_ms: 0, wall_ms: 1_700_000_000_000}
    options = [name: "brain-0", shards: 1, table: table, sync: 10_000, version: "1"]
    settings = %{version: 1, rooms: [], policies: [deployed("words", [release("x")])]}

    state = Machine.new(options, now) |> Machine.restore([], settings, now)
    state = Machine.stored_module(state, hash("x"), "other", now)
    {outputs, state} = State.take(state)
    assert {:read_modules, [hash("x")]} in outputs
    refute List.keymember?(outputs, :write_module, 0)

    # It was to run out, or is in no Valkey any more when the next one is reached.
    {outputs, state} = state |> Machine.stored_module(hash("x"), "x", now) |> State.take()
    assert outputs == [{:write_module, hash("x"), "x"}]
    assert {[], _state} = state |> Machine.stored_module(hash("x"), "x", now) |> State.take()
  end

  test "settings that break a bound of policies are refused" do
    good = release("x")
    eight = for n <- 1..8, do: release("#{n}")
    many = fn n -> for(n <- 1..n, do: deployed("p#{n}", [good])) end
    large = release("x", size: 4 * 1024 * 1024)

    for {policies, error} <- [
          {[deployed("words", eight)], 0},
          {[deployed("words", eight ++ [good])], 102},
          {[deployed("words", [])], 102},
          {[deployed("no name", [good])], 102},
          {[deployed("a", [good]), deployed("a", [good])], 102},
          {many.(32), 0},
          {many.(33), 102},
          {[deployed("a", [release("x", module: <<0::248>>)])], 102},
          {[deployed("a", [good, good])], 0},
          {[deployed("a", [good]), deployed("b", [release("x", size: 2)])], 102},
          {[deployed("a", [release("x", size: 0)])], 102},
          {[deployed("a", [large])], 0},
          {[deployed("a", [release("x", size: 4 * 1024 * 1024 + 1)])], 102},
          {[deployed("a", [release("x", version: String.duplicate("v", 64))])], 0},
          {[deployed("a", [release("x", version: String.duplicate("v", 65))])], 102},
          {[deployed("a", List.duplicate(large, 8)), deployed("b", List.duplicate(large, 8))], 0},
          {[
             deployed("a", List.duplicate(large, 8)),
             deployed("b", [large]),
             deployed("c", List.duplicate(large, 8))
           ], 102}
        ] do
      assert Message.settings?(%{version: 1, rooms: [], policies: policies}) == (error == 0)
    end

    assert [%{error: 102}] = bodies(set([deployed("words", [])]), "_arqon.shield.s1", :answer)
  end

  test "a load that says too much of policies is not shown, and its Shield lives" do
    running = fn fields ->
      Map.merge(%{name: "words", module: <<0::256>>, version: "1"}, Map.new(fields))
    end

    shown = fn policies ->
      say("s1", {:heartbeat, %{digest: 0, load: %{version: "1", policies: policies}}})
      say("s1", {:ask, %{id: 5, to: "brain-0", kind: {:shields, %{}}}})
      [%{result: {:shields, %{shields: [s1, _s2]}}}] = bodies(told(), "_arqon.shield.s1", :answer)
      assert s1.up
      if s1.load, do: length(s1.load.policies)
    end

    assert shown.(List.duplicate(running.([]), 64)) == 64
    # The last good one stays.
    for bad <- [
          List.duplicate(running.([]), 65),
          [running.(name: "")],
          [running.(module: <<0>>)],
          [running.(version: String.duplicate("v", 65))]
        ],
        do: assert(shown.(bad) == 64)
  end

  test "Shields that run many policies come in pages" do
    policies =
      for n <- 1..64, do: %{name: "p#{n}", module: <<n::256>>, version: String.duplicate("v", 64)}

    names =
      for n <- 10..29 do
        say("s#{n}", {:hello, %{}})
        say("s#{n}", {:heartbeat, %{digest: 0, load: %{version: "1", policies: policies}}})
        "s#{n}"
      end

    told()
    pages = shield_pages("", [])
    assert length(pages) > 1
    assert Enum.concat(pages) == Enum.sort(["s1", "s2" | names])
  end

  defp shield_pages(after_, done) do
    say("s1", {:ask, %{id: 5, to: "brain-0", kind: {:shields, %{after: after_}}}})
    [%{result: {:shields, list}}] = bodies(told(), "_arqon.shield.s1", :answer)
    page = Enum.map(list.shields, & &1.shield)
    if list.more, do: shield_pages(List.last(page), done ++ [page]), else: done ++ [page]
  end
end
