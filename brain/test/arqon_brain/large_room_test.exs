defmodule ArqonBrain.LargeRoomTest do
  @moduledoc "Ten thousand members in one room: a join costs the others a delta, and the Brain the same work as in a small room."
  use ArqonBrain.BrainCase, async: false

  @members 10_000
  @shields 4

  # One join, and its announcement.
  defp join(i) do
    shield = "s#{rem(i, @shields)}"
    counter = div(i, @shields) + 1

    say(
      shield,
      update("acme.a", shield, [{counter, counter}], [{counter, "user-#{i}"}],
        members: counter,
        version: counter
      )
    )

    now = TestClock.now()
    TestClock.advance(now.mono_ms + 20, now.wall_ms + 20)
    TestClock.settle()
  end

  defp work do
    pid = Process.whereis(Flow.name({:shard, :erlang.phash2("acme.a", Process.get(:shards))}))
    {:reductions, reductions} = Process.info(pid, :reductions)
    reductions
  end

  defp sizes(subject) do
    receive do
      {:spine, ^subject, {:update, _}, size} -> [size | sizes(subject)]
      {:spine, _, _, _} -> sizes(subject)
    after
      0 -> []
    end
  end

  # Heartbeats keep the leases, with digests that do not matter here.
  defp alive, do: for(i <- 0..(@shields - 1), do: say("s#{i}", {:heartbeat, %{digest: 0}}))

  test "a join costs the same at the end as at the beginning" do
    for i <- 0..(@shields - 1), do: say("s#{i}", {:hello, %{}})

    costs =
      for part <- Enum.chunk_every(0..(@members - 1), 100) do
        alive()
        TestClock.settle()
        _ = sizes("acme.a")
        before = work()
        Enum.each(part, &join/1)
        announced = sizes("_arqon.presence.acme.a")
        assert length(announced) == length(part)
        assert Enum.max(announced) < 200, "bytes of one announcement"
        work() - before
      end

    early = costs |> Enum.slice(5, 20) |> Enum.sum()
    late = costs |> Enum.take(-20) |> Enum.sum()
    assert late < 2 * early, "#{early} reductions for 2,000 joins early, #{late} late"
    assert %{users: @members, members: @members} = Presence.view("acme.a", 2)

    say("s0", {:compare, %{rooms: [%{subject: "acme.a", digest: 1, shields: []}]}})
    TestClock.settle()
    pages = sizes("_arqon.shield.s0")
    assert Enum.max(pages) <= 32 * 1024
    # Each of them tells what cannot be left out: a user, a session, a counter.
    assert Enum.sum(pages) < 80 * @members
  end
end
