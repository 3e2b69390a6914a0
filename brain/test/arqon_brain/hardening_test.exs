defmodule ArqonBrain.HardeningTest do
  @moduledoc "What peers send may be anything and any amount; the Brain neither crashes nor grows without bound."
  use ArqonBrain.BrainCase, async: false

  alias ArqonBrain.{Gen, Metrics, Vectors}
  alias ArqonBrain.Wire.Protobuf

  defp processes do
    for address <- [:directory, :sync, {:shard, 0}, {:shard, 1}],
        do: Process.whereis(Flow.name(address))
  end

  @tag capture_log: true
  test "no message ends a process" do
    before = processes()
    say("shield-1", {:hello, %{}}, instance: 77, incarnation: 3)
    vectors = for {_, _, _, control} <- Vectors.messages(), do: control

    Gen.check(2000, fn ->
      control = Gen.one(vectors)
      # A Shield's own messages with its lease, a Brain's, and what is broken on the way.
      from = Gen.one(["shield-1", "brain-1", "brain-0"])

      bytes =
        IO.iodata_to_binary(
          Protobuf.encode(:control, %{control | from: from, incarnation: Gen.one([3, 3, 4])})
        )

      bytes = if Gen.int(0..2) == 0, do: bytes, else: Gen.mutate(bytes)
      Control.handle(Gen.one([@brain, @brains, "_arqon.other"]), bytes)
      if Gen.int(0..20) == 0, do: pass(Gen.int(0..5_000))
    end)

    told()
    pass(120_000)
    assert processes() == before
    say("s9", {:hello, %{}})
    assert [%{accepted: true}] = bodies(told(), "_arqon.shield.s9", :welcome)
  end

  test "what digests repair is dropped while too much waits, and signs of life much later" do
    say("s1", {:hello, %{}})
    told()
    directory = Process.whereis(Flow.name(:directory))
    :sys.suspend(directory)
    shed = fn kind -> Metrics.get(:control_shed_total, kind: kind) end
    before = %{compare: shed.(:compare), heartbeat: shed.(:heartbeat), hello: shed.(:hello)}
    for _ <- 1..10_050, do: say("s1", {:compare, %{rooms: []}})
    assert shed.(:compare) == before.compare + 50
    say("s2", {:hello, %{}})
    for _ <- 1..10_050, do: say("s1", {:heartbeat, %{digest: 0}})
    assert shed.(:heartbeat) == before.heartbeat + 51
    # Nothing is so important that a faulty Shield may fill the memory with it.
    say("s3", {:hello, %{}})
    assert shed.(:hello) == before.hello + 1
    {:message_queue_len, waiting} = Process.info(directory, :message_queue_len)
    assert waiting in 20_000..20_010
    :sys.resume(directory)
    assert [%{accepted: true}] = bodies(told(), "_arqon.shield.s2", :welcome)
    say("s1", update("acme.a", "s1", [{1, 1}], [{1, "ann"}]))
    assert users("acme.a") == ["ann"]
  end

  test "a Shield whose heartbeat waits before the Directory is alive" do
    for shield <- ["s1", "s2"], do: say(shield, {:hello, %{}})
    pass(5_000)
    directory = Process.whereis(Flow.name(:directory))
    :sys.suspend(directory)
    # Both came in time, and the alarm behind them.
    for shield <- ["s1", "s2"], do: say(shield, {:heartbeat, %{digest: 0}})
    set_time(6_500)
    send(directory, {:clock, :settle})
    :sys.resume(directory)
    beacons = bodies(told() ++ pass(3_000), @shields, :beacon)
    assert length(beacons) >= 2
    for beacon <- beacons, do: assert([%{shield: "s1"}, %{shield: "s2"}] = beacon.shields)
    assert %{shields: []} = List.last(bodies(pass(6_000), @shields, :beacon))
  end

  test "a Brain that was suspended says that its list means nothing" do
    say("s1", {:hello, %{}})
    pass(7_000, ["s1"])
    assert %{warming: false} = List.last(bodies(pass(2_000, ["s1"]), @shields, :beacon))
    # Longer than anybody is remembered.
    set_time(800_000)

    log =
      ExUnit.CaptureLog.capture_log(fn ->
        say("s2", {:hello, %{}})
        beacons = bodies(told(), @shields, :beacon)
        assert Enum.all?(beacons, & &1.warming) and beacons != []
      end)

    assert log =~ "the Brain stood still for"
    say("s1", {:heartbeat, %{digest: 0}})
    told = told()
    assert bodies(told, "_arqon.shield.s1", :forgotten) == []
    assert [%{shields: [%{shield: "s1"}, %{shield: "s2"}]}] = bodies(told, @shields, :beacon)
  end

  # The time goes on and no alarm rings: nobody was there to hear it.
  defp set_time(mono_ms), do: TestClock.start(mono_ms, 1_700_000_000_000 + mono_ms)

  test "a room that is named many times is answered once" do
    say("s1", {:hello, %{}})
    say("s1", update("acme.a", "s1", [{1, 1}], [{1, "ann"}]))
    told()
    room = %{subject: "acme.a", digest: 7, shields: ["s1"]}
    say("s1", {:compare, %{rooms: List.duplicate(room, 1_000)}})
    assert [%{rooms: [%{slices: [_one]}]}] = bodies(told(), "_arqon.shield.s1", :update)
    pull = {:pull, %{to: "brain-0", subjects: List.duplicate("acme.a", 1_000)}}
    say("brain-1", pull, subject: @brains)
    assert [%{rooms: [%{slices: [_one]}]}] = bodies(told(), @brains, :update)
  end

  test "a shard that is slow loses what digests repair, and is repaired" do
    say("s1", {:hello, %{}})
    told()
    shard = Process.whereis(Flow.name({:shard, :erlang.phash2("acme.a", 2)}))
    :sys.suspend(shard)
    shed = fn kind -> Metrics.get(:control_shed_total, kind: kind) end
    before = %{merge: shed.(:merge), gather: shed.(:gather)}
    # Not faster than the Directory works, which has a bound of its own.
    for i <- 1..10_100 do
      say("s1", update("acme.a", "s1", [{i, i}], [{i, "u#{i}"}]))
      if rem(i, 1000) == 0, do: await(fn -> queue(:directory) == 0 end)
    end

    # The Directory is at work while the shard is not.
    await(fn -> shed.(:merge) > before.merge end)
    # Neither do questions pile up before it.
    for _ <- 1..100, do: say("s1", {:heartbeat, %{digest: 0}})
    await(fn -> shed.(:gather) >= before.gather + 100 end)
    assert {:message_queue_len, 10_000} = Process.info(shard, :message_queue_len)
    :sys.resume(shard)
    told()
    assert length(users("acme.a")) < 10_100
    whole = update("acme.a", "s1", [{1, 10_100}], for(i <- 9_000..9_500, do: {i, "u#{i}"}))
    say("s1", whole)
    assert length(users("acme.a")) == 501, "a full state says all"
  end

  defp queue(address) do
    {:message_queue_len, length} =
      Process.info(Process.whereis(Flow.name(address)), :message_queue_len)

    length
  end

  test "many rooms in one message are all created, in order" do
    say("s1", {:hello, %{}})

    slice = %{
      shield: "s1",
      incarnation: 1,
      spans: [%{from: 1, to: 1}],
      members: 1,
      members_version: 1
    }

    rooms = for i <- 100..399, do: %{subject: "acme.r#{i}", slices: [slice]}
    told()
    say("s1", {:update, %{rooms: rooms}})
    assert length(events(told())) == 300
    assert length(Presence.rooms(2)) == 300
  end
end
