defmodule ArqonBrain.BrainTest do
  @moduledoc "The processes of a Brain on a fake spine: what Shields are told."
  use ArqonBrain.BrainCase, async: false

  defp hello(shield, options \\ []) do
    say(shield, {:hello, %{}}, options)
    told()
  end

  test "a hello is welcomed with a beacon, and another holder is not" do
    told = hello("s1", instance: 7, incarnation: 3)

    assert [%{instance: 7, incarnation: 3, accepted: true, answers: 3}] =
             bodies(told, "_arqon.shield.s1", :welcome)

    assert [%{warming: true, shields: [%{shield: "s1", incarnation: 3}]}] =
             bodies(told, "_arqon.shield.s1", :beacon)

    assert [%{shields: [%{shield: "s1"}]}] = bodies(told, @shields, :beacon)

    assert [%{instance: 8, holder_incarnation: 3, answers: 4}] =
             hello("s1", instance: 8, incarnation: 4) |> bodies("_arqon.shield.s1", :occupied)

    pass(div(@lease, 2))

    assert [%{incarnation: 3, accepted: false}] =
             hello("s1", instance: 8, incarnation: 2) |> bodies("_arqon.shield.s1", :welcome)

    assert [%{accepted: true}] =
             hello("s1", instance: 8, incarnation: 4) |> bodies("_arqon.shield.s1", :welcome)
  end

  test "who holds no lease is told so, but for a bye" do
    say("s1", {:heartbeat, %{digest: 0}}, instance: 9, incarnation: 5)

    assert [%{instance: 9, incarnation: 0, answers: 5}] =
             bodies(told(), "_arqon.shield.s1", :forgotten)

    say("s1", {:bye, %{}})
    assert told() == []
  end

  test "what is tracked is announced after the window, once" do
    hello("s1")
    say("s1", update("acme.a", "s1", [{1, 1}], [{1, "ann"}], members: 1, version: 1))
    assert events(told()) == [{"acme.a", :created}]
    assert pass(19) == []
    say("s1", update("acme.a", "s1", [{2, 2}], [{2, "bob"}]))
    assert [%{rooms: [%{slices: [slice]}]}] = bodies(pass(1), "_arqon.presence.acme.a", :update)
    assert Enum.map(slice.entries, & &1.user) == ["ann", "bob"]
    assert {slice.spans, slice.members} == {[%{from: 1, to: 2}], 1}
    say("s1", update("acme.a", "s1", [{2, 2}], [{2, "bob"}]))
    assert bodies(pass(100), "_arqon.presence.acme.a", :update) == [], "nothing is told twice"
    assert users("acme.a") == ["ann", "bob"]
    say("s1", update("acme.b", "s1", [{3, 3}], []))

    assert [%{rooms: [%{slices: [%{entries: []}]}]}] =
             bodies(told(), "_arqon.presence.acme.b", :update)
  end

  test "a Shield writes its own slice only" do
    hello("s1")
    say("s1", update("acme.a", "s2", [{1, 1}], [{1, "ann"}]))
    say("s1", update("acme.a", "s1", [{1, 1}], [{1, "ann"}], incarnation: 2))
    say("s1", {:beacon, %{}})
    say("s1", update("_arqon.brain", "s1", [{1, 1}], []))
    assert pass(100) |> bodies("_arqon.presence.acme.a", :update) == []
    assert users("acme.a") == []
  end

  test "digests find what was missed, in both directions" do
    hello("s1")
    for room <- ["a", "b"], do: say("s1", update("acme.#{room}", "s1", [{1, 1}], [{1, "ann"}]))
    pass(100)
    say("s1", {:heartbeat, %{digest: 0}})
    assert [%{}] = bodies(told(), "_arqon.shield.s1", :resync)
    slice = ArqonBrain.Slice.new(1, [{1, 1}], %{1 => {"ann", <<1::128>>, "1"}})
    digest = ArqonBrain.Slice.digest(slice)

    sum =
      Enum.reduce(
        ["acme.a", "acme.b"],
        0,
        &ArqonBrain.Digest.add(&2, ArqonBrain.Digest.term(&1, digest))
      )

    say("s1", {:heartbeat, %{digest: sum}})
    assert bodies(told(), "_arqon.shield.s1", :resync) == []

    page = [
      %{subject: "acme.a", digest: digest},
      %{subject: "acme.c", digest: 5},
      %{subject: "acme.d", digest: 0}
    ]

    say("s1", {:digests, %{after: "", upto: "", rooms: page}})
    pulled = told() |> bodies("_arqon.shield.s1", :pull) |> Enum.flat_map(& &1.subjects)
    assert Enum.sort(pulled) == ["acme.b", "acme.c"]
    say("s1", {:digests, %{after: "acme.a", upto: "acme.aa", rooms: []}})
    assert told() == []
  end

  test "a watcher that shows something else gets the state, and who is unknown is asked" do
    for shield <- ["s1", "s2"], do: hello(shield)
    say("s1", update("acme.a", "s1", [{1, 1}], [{1, "ann"}]))
    pass(100)
    say("s2", {:compare, %{rooms: [%{subject: "acme.a", digest: 1, shields: ["s1", "s3"]}]}})
    told = told()

    assert [%{rooms: [%{subject: "acme.a", slices: [%{shield: "s1"}]}]}] =
             bodies(told, "_arqon.shield.s2", :update)

    assert Enum.all?(told, fn {_, {kind, _}} -> kind == :update end)
    say("s1", {:compare, %{rooms: [%{subject: "acme.b", digest: 1, shields: ["s1", "s2"]}]}})
    assert [{"_arqon.shield.s2", {:pull, %{to: "s2", subjects: ["acme.b"]}}}] = told()
    say("s1", update("acme.a", "s1", [{1, 1}], []))
    pass(100)
    say("s2", {:compare, %{rooms: [%{subject: "acme.a", digest: 1, shields: ["s1"]}]}})
    pulls = bodies(told(), "_arqon.shield.s1", :pull)
    assert [%{to: "s1", subjects: ["acme.a"]}] = pulls, "it shows somebody where nobody is left"
  end

  test "a lease that runs out hides and merges nothing, and the next word ends that" do
    hello("s1")
    say("s1", update("acme.a", "s1", [{1, 1}], [{1, "ann"}]))
    pass(@lease + 4_999)
    assert users("acme.a") == ["ann"]
    told = pass(1)
    assert users("acme.a") == []
    assert bodies(told, "_arqon.presence.acme.a", :update) == []
    say("s1", {:heartbeat, %{digest: 0}})
    assert users("acme.a") == ["ann"]
    assert [%{shields: [%{shield: "s1"}]}] = bodies(told(), @shields, :beacon)
    say("s1", {:bye, %{}})
    assert [%{shields: []}] = bodies(told(), @shields, :beacon)
    pass(@grace)
    assert users("acme.a") == []
  end

  test "a newer incarnation supersedes in every room, and permanent-down drops" do
    hello("s1")

    for room <- ["a", "b", "c"],
        do: say("s1", update("acme.#{room}", "s1", [{1, 1}], [{1, "ann"}]))

    pass(100)
    hello("s1", incarnation: 2)
    told = pass(100)

    for room <- ["a", "b", "c"] do
      assert [%{rooms: [%{slices: [%{incarnation: 2, entries: []}]}]}] =
               bodies(told, "_arqon.presence.acme.#{room}", :update)

      assert users("acme.#{room}") == []
    end

    say("s1", update("acme.a", "s1", [{1, 5}], [{5, "ann"}], incarnation: 2), incarnation: 2)
    pass(600_000)
    say("s1", {:heartbeat, %{}}, incarnation: 2)
    assert [%{incarnation: 2, answers: 2}] = bodies(told(), "_arqon.shield.s1", :forgotten)

    assert [%{accepted: false, incarnation: 2}] =
             hello("s1", incarnation: 2) |> bodies("_arqon.shield.s1", :welcome)

    assert [%{accepted: true}] =
             hello("s1", incarnation: 3) |> bodies("_arqon.shield.s1", :welcome)
  end

  test "a room is idle without anybody, announces its close, and closes if nobody refuses" do
    hello("s1")
    say("s1", update("acme.a", "s1", [{1, 1}], [{1, "ann"}]))
    pass(100)
    assert TestClock.room?("acme.a")
    say("s1", update("acme.a", "s1", [{1, 1}], []))
    assert events(pass(100)) == [{"acme.a", :idle}]
    told = pass(62_000, ["s1"])
    assert [%{subject: "acme.a", generation: generation}] = bodies(told, @shields, :idle_close)
    say("s1", {:close_refused, %{subject: "acme.a", generation: generation - 1}})
    say("s1", {:close_refused, %{subject: "acme.a", generation: generation}})
    assert events(pass(@lease + 2_000, ["s1"])) == [], "refused"
    told = pass(70_000, ["s1"])
    assert [%{generation: ^generation}] = bodies(told, @shields, :idle_close)
    assert events(told) == [{"acme.a", :closed}]
    await(fn -> not TestClock.room?("acme.a") end)
    say("s1", update("acme.a", "s1", [{2, 2}], [{2, "ann"}]))
    assert [{"_arqon.rooms", {:room_event, %{kind: 1, generation: later}}}] = told()
    assert later > generation
  end

  test "a room that is looked at twice at its end ends once, and nothing is left waiting" do
    hello("s1")
    say("s1", update("acme.a", "s1", [{1, 1}], [{1, "ann"}]))
    say("s1", update("acme.a", "s1", [{1, 1}], []))
    pass(64_000, ["s1"])
    now = TestClock.now()
    later = %{now | mono_ms: now.mono_ms + @lease}
    room = Rooms.whereis("acme.a")
    for _ <- 1..2, do: Flow.send({:room, room}, {:look, false, 0, later})
    assert events(told()) == [{"acme.a", :closed}]
    assert Flow.idle?()
  end

  test "a room that was known before keeps its number, and later ones get higher ones" do
    hello("s1")
    say("s1", update("acme.a", "s1", [{1, 1}], [{1, "ann"}]))
    assert [{_, {:room_event, %{generation: proposed}}}] = told()
    send(Rooms.whereis("acme.a"), {:store, {:generation, "acme.a", proposed + 50}})
    await(fn -> match?([%{generation: g}] when g == proposed + 50, Presence.rooms(2)) end)
    say("s1", update("acme.b", "s1", [{2, 2}], [{2, "ann"}]))
    assert [{_, {:room_event, %{generation: next}}}] = told()
    assert next == proposed + 51
    say("s1", update("acme.a", "s1", [{1, 1}], []))
    told = pass(64_000, ["s1"])
    assert [%{subject: "acme.a", generation: g}] = bodies(told, @shields, :idle_close)
    assert g == proposed + 50
  end

  test "the time after which a room is closed may be another one by the file" do
    on_exit(fn -> :persistent_term.erase(ArqonBrain.Config) end)
    hello("s1")
    say("s1", update("acme.a", "s1", [{1, 1}], [{1, "ann"}]))
    say("s1", update("acme.a", "s1", [{1, 1}], []))
    pass(2_000, ["s1"])
    config = config(2)
    ArqonBrain.Config.put(%{config | presence: %{config.presence | idle_close_ms: 3_000}})
    assert [%{subject: "acme.a"}] = bodies(pass(6_000, ["s1"]), @shields, :idle_close)
  end

  test "somebody who comes back ends the wait" do
    hello("s1")
    say("s1", update("acme.a", "s1", [{1, 1}], [], members: 1, version: 1))
    pass(100)
    say("s1", update("acme.a", "s1", [{2, 2}], [], members: 0, version: 2))
    pass(100)
    pass(60_000, ["s1"])
    say("s1", update("acme.a", "s1", [{3, 3}], [], members: 1, version: 3))
    assert events(pass(100, ["s1"])) == [{"acme.a", :active}]
    assert events(pass(20_000, ["s1"])) == []
  end

  test "Brains compare digests, pull what differs and believe no rumour of an older life" do
    hello("s1")
    say("s1", update("acme.a", "s1", [{1, 1}], [{1, "ann"}]))
    told = pass(10_000, ["s1"])

    assert [%{rooms: [%{subject: "acme.a"}], after: "", upto: ""}] =
             bodies(told, @brains, :digests)

    rooms = [%{subject: "acme.a", digest: 1}, %{subject: "acme.b", digest: 2}]
    say("brain-1", {:digests, %{rooms: rooms}}, subject: @brains)
    pulls = bodies(told(), @brains, :pull)
    assert pulls |> Enum.flat_map(& &1.subjects) |> Enum.sort() == ["acme.a", "acme.b"]
    assert Enum.all?(pulls, &(&1.to == "brain-1"))
    say("brain-1", {:pull, %{to: "brain-0", subjects: ["acme.a", "acme.z"]}}, subject: @brains)
    assert [%{rooms: [%{subject: "acme.a"}]}] = bodies(told(), @brains, :update)
    say("brain-1", {:pull, %{to: "brain-2", subjects: ["acme.a"]}}, subject: @brains)
    say("brain-0", {:pull, %{to: "brain-0", subjects: ["acme.a"]}}, subject: @brains)
    assert told() == []
    say("brain-1", update("acme.a", "s1", [{1, 9}], [], incarnation: 0), subject: @brains)
    say("brain-1", update("acme.b", "s2", [{1, 1}], [{1, "bob"}]), subject: @brains)
    assert {users("acme.a"), users("acme.b")} == {["ann"], []}, "merged, and not vouched for"

    assert [%{accepted: false, incarnation: 1}] =
             hello("s2") |> bodies("_arqon.shield.s2", :welcome)

    assert [%{accepted: true}] =
             hello("s2", incarnation: 2) |> bodies("_arqon.shield.s2", :welcome)

    say("s2", update("acme.b", "s2", [{1, 1}], [{1, "bob"}], incarnation: 2), incarnation: 2)
    assert users("acme.b") == ["bob"]
  end

  test "bounds: too many rooms and sessions are refused and counted" do
    hello("s1")
    before = ArqonBrain.Metrics.get(:control_ignored_total, reason: :malformed)
    Control.handle(@brain, "nonsense")
    say("s1", {:welcome, %{}})
    say("s1", {:hello, %{}}, subject: @brains)
    told()
    assert ArqonBrain.Metrics.get(:control_ignored_total, reason: :malformed) == before + 3
  end

  test "a body that breaks a rule is a sign of life all the same" do
    hello("s1")
    pass(4_000)
    say("s1", update("acme.a", "s2", [{1, 1}], [{1, "ann"}]))
    pass(4_000)
    assert [{"s1", _known, true}] = ArqonBrain.Directory.shields()
    assert users("acme.a") == []
  end

  @tag limits: %{rooms_max: 4, sessions_per_room_max: 2}, shards: 1
  test "bounds of rooms and sessions" do
    hello("s1")
    for i <- 1..5, do: say("s1", update("acme.r#{i}", "s1", [{i, i}], [{i, "ann"}]))
    assert length(events(told())) == 4
    say("s1", update("acme.r1", "s1", [{11, 15}], for(i <- 11..15, do: {i, "u#{i}"})))
    assert users("acme.r1") == ["ann"]
    say("s1", update("acme.r1", "s1", [{11, 13}], for(i <- 11..13, do: {i, "u#{i}"})))
    assert length(users("acme.r1")) == 4
  end

  describe "what crashes is repaired" do
    test "a room's process goes on under its generation" do
      hello("s1")
      say("s1", update("acme.a", "s1", [{1, 1}], [{1, "ann"}]))
      assert [{_, {:room_event, %{generation: generation}}}] = told()
      kill(Rooms.whereis("acme.a"))
      await(fn -> Rooms.whereis("acme.a") end)
      assert events(told()) == [], "nobody hears of it"
      say("s1", update("acme.a", "s1", [{1, 1}], []))
      assert events(pass(4_000, ["s1"])) == [{"acme.a", :idle}]
      assert [%{generation: ^generation}] = bodies(pass(62_000, ["s1"]), @shields, :idle_close)
    end

    test "a shard asks the Shields again, and its rooms live on" do
      hello("s1")
      say("s1", update("acme.a", "s1", [{1, 1}], [{1, "ann"}]))
      pass(100)
      index = :erlang.phash2("acme.a", 2)
      kill(Process.whereis(Flow.name({:shard, index})))
      await(fn -> Process.whereis(Flow.name({:shard, index})) end)
      assert_receive {:spine, "_arqon.shield.s1", {:resync, _}, _}
      assert users("acme.a") == []
      assert events(pass(3_000, ["s1"])) == [], "an absence that means nothing"
      say("s1", update("acme.a", "s1", [{1, 1}], [{1, "ann"}]))
      assert users("acme.a") == ["ann"]
      assert events(pass(10_000, ["s1"])) == []
      assert TestClock.room?("acme.a")
    end

    test "the Directory forgets its leases, and the Shields come back" do
      hello("s1")
      say("s1", update("acme.a", "s1", [{1, 1}], [{1, "ann"}]))
      told()
      directory = Process.whereis(Flow.name(:directory))
      kill(directory)

      await(fn ->
        Process.whereis(Flow.name({:shard, 1})) && Process.whereis(Flow.name(:directory))
      end)

      told()
      say("s1", {:heartbeat, %{digest: 1}})
      assert [%{incarnation: 0}] = bodies(told(), "_arqon.shield.s1", :forgotten)
      hello("s1")
      say("s1", {:heartbeat, %{digest: 1}})
      assert [%{}] = bodies(told(), "_arqon.shield.s1", :resync)
      say("s1", update("acme.a", "s1", [{1, 1}], [{1, "ann"}]))
      assert users("acme.a") == ["ann"]
    end

    test "the orders of a Directory that starts again are not those that Shields remember" do
      order = fn ->
        say("s1", {:hello, %{}})
        told()
        say("s1", {:ask, %{id: 5, to: "brain-0", kind: {:drain, %{shield: "s1"}}}})
        assert [%{id: id}] = bodies(told(), "_arqon.shield.s1", :order)
        id
      end

      first = order.()
      directory = Process.whereis(Flow.name(:directory))
      kill(directory)
      await(fn -> Process.whereis(Flow.name(:directory)) not in [nil, directory] end)
      told()
      assert order.() > first
    end

    defp kill(pid) do
      monitor = Process.monitor(pid)
      Process.exit(pid, :kill)
      assert_receive {:DOWN, ^monitor, :process, ^pid, _}
    end
  end
end
