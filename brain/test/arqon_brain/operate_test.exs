defmodule ArqonBrain.OperateTest do
  @moduledoc "What operators ask, and what all Shields and Brains hold alike."
  use ArqonBrain.BrainCase, async: false

  @now 1_700_000_000_000

  setup do
    for shield <- ["s1", "s2"], do: say(shield, {:hello, %{}})
    told()
    :ok
  end

  defp ask(kind, id \\ 5) do
    say("s1", {:ask, %{id: id, to: "brain-0", kind: kind}})
    told()
  end

  defp answer(told) do
    assert [%{instance: 1, id: 5} = answer] = bodies(told, "_arqon.shield.s1", :answer)
    answer
  end

  defp result(told) do
    assert %{error: 0, result: {_, result}} = answer(told)
    result
  end

  defp revocation(fields) do
    Map.merge(
      %{tenant: "acme", user: "", session: "", jti: "", at_ms: @now, until_ms: @now + 1000},
      Map.new(fields)
    )
  end

  test "another Brain's question is not answered, and nobody's without a lease" do
    say("s1", {:ask, %{id: 5, to: "brain-1", kind: {:shields, %{}}}})
    assert told() == []
    say("s3", {:ask, %{id: 5, to: "brain-0", kind: {:shields, %{}}}})
    assert [{"_arqon.shield.s3", {:forgotten, _}}] = told()
  end

  test "a Shield that asks after a long silence is shown again before it is answered" do
    say("s1", update("acme.a", "s1", [{1, 1}], [{1, "ann"}]))
    pass(12_000)
    %{list: list} = result(ask({:members, %{subject: "acme.a"}}))
    assert [%{user: "ann"}] = list
    pass(12_000)
    assert %{rooms: [%{users: 1}]} = result(ask({:rooms, %{}}))
  end

  test "rooms are listed in pages over all shards" do
    for i <- 10..30,
        do: say("s1", update("acme.r#{i}", "s1", [{i, i}], [{i, "ann"}], members: 2, version: i))

    say("s2", update("globex.a", "s2", [{1, 1}], [{1, "bob"}]))
    %{rooms: rooms, more: false} = result(ask({:rooms, %{}}))
    assert Enum.map(rooms, & &1.subject) == for(i <- 10..30, do: "acme.r#{i}") ++ ["globex.a"]
    assert %{phase: 1, users: 1, members: 2} = hd(rooms)

    %{rooms: [first, second], more: true} =
      result(ask({:rooms, %{tenant: "acme", after: "acme.r12", limit: 2}}))

    assert {first.subject, second.subject} == {"acme.r13", "acme.r14"}
    %{rooms: [_], more: false} = result(ask({:rooms, %{tenant: "globex"}}))
    assert %{error: 102, message: message} = answer(ask({:rooms, %{tenant: "-"}}))
    assert message =~ "tenant"
  end

  test "a list that does not fit goes on behind the last room" do
    for part <- Enum.chunk_every(1..1500, 300) do
      slice = fn i ->
        %{
          shield: "s1",
          incarnation: 1,
          spans: [%{from: i, to: i}],
          members: 1,
          members_version: i
        }
      end

      say(
        "s1",
        {:update, %{rooms: for(i <- part, do: %{subject: "acme.room-#{i}", slices: [slice.(i)]})}}
      )
    end

    pages = pages("", [])
    assert length(pages) > 1
    assert Enum.concat(pages) == Enum.sort(for i <- 1..1500, do: "acme.room-#{i}")
  end

  defp pages(after_, done) do
    %{rooms: rooms, more: more} = result(ask({:rooms, %{after: after_}}))
    page = Enum.map(rooms, & &1.subject)
    if more, do: pages(List.last(page), done ++ [page]), else: done ++ [page]
  end

  test "members are listed as this Brain shows them" do
    say("s1", update("acme.a", "s1", [{1, 3}], [{1, "ann"}, {3, "eve"}], members: 4, version: 1))
    say("s2", update("acme.a", "s2", [{1, 3}], [{2, "bob"}, {3, "ann"}], members: 1, version: 1))

    %{users: 3, members: 5, list: list, more: false} =
      result(ask({:members, %{subject: "acme.a"}}))

    assert Enum.map(list, & &1.user) == ["ann", "bob", "eve"]
    assert Enum.map(hd(list).metas, & &1.session) == [<<1::128>>, <<3::128>>]

    %{users: 3, list: [%{user: "bob"}], more: true} =
      result(ask({:members, %{subject: "acme.a", after: "ann", limit: 1}}))

    assert %{users: 0, members: 0, list: []} = result(ask({:members, %{subject: "acme.nobody"}}))
    assert %{error: 102} = answer(ask({:members, %{subject: "acme"}}))
    assert %{error: 102} = answer(ask({:members, %{subject: "acme.a", after: "a\n"}}))
    assert %{error: 102} = answer(ask(nil))
  end

  test "Shields are listed with what they carry" do
    load = %{
      sockets: 7,
      rooms: 1,
      received: 2,
      delivered: 3,
      version: "0.1.0",
      draining: false,
      settings: 0,
      policies: []
    }

    say("s2", {:heartbeat, %{digest: 0, load: load}})
    say("s2", {:heartbeat, %{digest: 0, load: %{load | version: String.duplicate("x", 65)}}})
    pass(100)
    %{shields: [one, two], version: version} = result(ask({:shields, %{}}))
    assert {one.shield, one.up, one.load, one.silent_ms} == {"s1", true, nil, 0}
    assert {two.shield, two.load, two.silent_ms} == {"s2", load, 100}
    assert version =~ ~r/^\d/
  end

  test "an order goes to all who are up, is repeated, and answered when it is done" do
    told = ask({:kick, %{tenant: "acme", user: "ann", reason: "spam"}})
    kick = {:kick, %{tenant: "acme", user: "ann", session: "", reason: "spam"}}

    for shield <- ["s1", "s2"],
        do: assert([%{id: 1, kind: ^kick}] = bodies(told, "_arqon.shield.#{shield}", :order))

    say("s1", {:order_reply, %{brain: "brain-0", id: 1}})
    say("s2", {:order_reply, %{brain: "brain-1", id: 1}})
    assert told() == []
    told = pass(4_000, ["s1", "s2"])
    assert length(bodies(told, "_arqon.shield.s2", :order)) == 4
    assert bodies(told, "_arqon.shield.s1", :order) == []
    assert result(pass(1_000)) == %{reached: ["s1"], unreached: ["s2"]}
  end

  test "a session is ended within the tenant that is given" do
    session = <<7::128>>

    for {tenant, id} <- [{"acme", 1}, {"", 2}] do
      told = ask({:kick, %{tenant: tenant, session: session, reason: "spam"}})
      kick = {:kick, %{tenant: tenant, user: "", session: session, reason: "spam"}}
      assert [%{id: ^id, kind: ^kick}] = bodies(told, "_arqon.shield.s1", :order)
    end

    assert %{error: 102} = answer(ask({:kick, %{tenant: "_x", session: session}}))
  end

  test "a room is closed under its generation, and one Shield is drained" do
    say("s1", update("acme.a", "s1", [{1, 1}], [{1, "ann"}]))
    assert [{_, {:room_event, %{generation: generation}}}] = told()
    told = ask({:close_room, %{subject: "acme.a", generation: 77, reason: "over"}})

    assert [%{id: 1, kind: {:close_room, %{generation: ^generation}}}] =
             bodies(told, "_arqon.shield.s2", :order)

    told = ask({:drain, %{shield: "s2", reason: "deploy"}})

    assert [%{id: 2, kind: {:drain, %{reason: "deploy"}}}] =
             bodies(told, "_arqon.shield.s2", :order)

    assert bodies(told, "_arqon.shield.s1", :order) == []
    say("s2", {:order_reply, %{brain: "brain-0", id: 2}})
    assert result(told()) == %{reached: ["s2"], unreached: []}
    assert %{error: 120} = answer(ask({:drain, %{shield: "s9"}}))

    for bad <- [
          {:kick, %{session: <<1>>}},
          {:kick, %{user: "ann"}},
          {:close_room, %{subject: "a"}},
          {:drain, %{}}
        ] do
      assert %{error: 102} = answer(ask(bad)), inspect(bad)
    end
  end

  test "too many orders under way are refused" do
    for id <- 1..1024,
        do: say("s1", {:ask, %{id: id, to: "brain-0", kind: {:drain, %{shield: "s2"}}}})

    told()
    assert %{error: 113} = answer(ask({:drain, %{shield: "s2"}}))
  end

  test "a revocation is passed on to all, once" do
    ann = revocation(user: "ann")
    told = ask({:revoke, ann})
    assert result(told) == %{reached: [], unreached: []}

    for to <- [@shields, @brains],
        do: assert([%{revoked: [^ann], settings: nil, pull: ""}] = bodies(told, to, :shared))

    assert [{_, {:answer, _}}] = ask({:revoke, ann})
    assert %{error: 102} = answer(ask({:revoke, revocation([])}))

    assert %{error: 108} =
             answer(ask({:revoke, revocation(user: "a", until_ms: @now + 31 * 24 * 3600 * 1000)}))

    [%{shared: digest} | _] = bodies(pass(2_000), @shields, :beacon)
    assert digest == 0, "it is over"
  end

  test "settings are replaced by who knows the present ones" do
    rooms = [
      %{tenant: "", pattern: ">", members_max: 5, publish_rate_per_s: 0, idle_close_ms: 1000}
    ]

    told = ask({:set, %{version: 0, rooms: rooms}})
    settings = result(told)
    assert settings == %{version: @now, rooms: rooms, policies: []}

    for to <- [@shields, @brains],
        do: assert([%{settings: ^settings}] = bodies(told, to, :shared))

    assert %{error: 121} = answer(ask({:set, %{version: 0, rooms: [], policies: []}}))

    assert %{error: 102} =
             answer(ask({:set, %{version: @now, rooms: [%{hd(rooms) | pattern: "a..b"}]}}))

    assert result(ask({:settings, %{}})) == settings
    assert %{version: next} = result(ask({:set, %{version: @now, rooms: rooms}}))
    assert next == @now + 1

    say("s1", update("acme.a", "s1", [{1, 1}], [{1, "ann"}]))
    say("s1", update("acme.a", "s1", [{1, 1}], []))
    told = pass(4_000, ["s1"])

    assert [%{subject: "acme.a"}] = bodies(told, @shields, :idle_close),
           "after one second instead of sixty"
  end

  test "the version of the settings stays within its 64 bits" do
    last = 0xFFFFFFFFFFFFFFFF
    say("s2", {:shared, %{settings: %{version: last, rooms: []}}})
    told()
    assert %{version: ^last} = result(ask({:set, %{version: last, rooms: []}}))
    assert %{version: ^last} = result(ask({:settings, %{}}))
  end

  test "who holds something else gets all, and is asked for it" do
    ask({:revoke, revocation(user: "ann", until_ms: @now + 100_000)})
    bob = revocation(user: "bob", until_ms: @now + 100_000)
    say("s1", {:shared, %{pull: "brain-0", revoked: [bob]}})
    told = told()
    assert [%{revoked: [_, _], pull: ""}] = bodies(told, "_arqon.shield.s1", :shared)
    for to <- [@shields, @brains], do: assert([%{revoked: [^bob]}] = bodies(told, to, :shared))
    eve = revocation(user: "eve", until_ms: @now + 100_000)
    say("brain-1", {:shared, %{pull: "brain-0", revoked: [eve]}}, subject: @brains)
    told = told()
    assert [%{revoked: [^eve]}] = bodies(told, @shields, :shared)

    assert [%{revoked: [_, _, _]}] = bodies(told, @brains, :shared),
           "the answer; the news every Brain has heard"

    say("brain-1", {:digests, %{shared: 1}}, subject: @brains)
    assert [%{pull: "brain-1", revoked: [_, _, _]}] = bodies(told(), @brains, :shared)
    [%{shared: digest} | _] = bodies(pass(2_000), @shields, :beacon)
    say("brain-1", {:digests, %{shared: digest}}, subject: @brains)
    say("brain-1", {:digests, %{shared: 1, upto: "x"}}, subject: @brains)
    assert told() == []
    say("s1", {:shared, %{revoked: [revocation(user: "a", jti: "b")]}})
    assert told() == []
  end

  test "what was written down is merged, whenever it comes" do
    settings = %{version: 9, rooms: [], policies: []}

    stored = %{
      revocations: [revocation(jti: "t"), revocation([])],
      settings: ArqonBrain.Settings.encode(settings)
    }

    send(Process.whereis(Flow.name(:directory)), {:store, {:loaded, stored}})
    assert ArqonBrain.Directory.shared().settings == settings
    told = told()
    assert [%{revoked: [%{jti: "t"}], settings: ^settings}] = bodies(told, @shields, :shared)

    send(
      Process.whereis(Flow.name(:directory)),
      {:store, {:loaded, %{revocations: [], settings: <<0xFF>>}}}
    )

    assert ArqonBrain.Directory.shared().settings == settings
  end
end
