defmodule ArqonBrain.TestBrainTest do
  @moduledoc "A whole Brain over a real nats-server, driven as the differential test in Rust drives it."
  use ExUnit.Case, async: false

  alias ArqonBrain.{ConfigFixture, Modules, NatsServer, RawNats, TestBrain, Vectors}
  alias ArqonBrain.Wire.Protobuf

  @moduletag :tmp_dir
  @moduletag capture_log: true

  setup context do
    server = NatsServer.start(context.tmp_dir)
    config = ConfigFixture.config(name: "brain-7", spine: NatsServer.spine(server), shards: 1)
    {:ok, pid} = TestBrain.serve(config)

    on_exit(fn ->
      Supervisor.terminate_child(ArqonBrain.Supervisor, ArqonBrain.Tree)
      Supervisor.delete_child(ArqonBrain.Supervisor, ArqonBrain.Tree)
      GenServer.stop(pid)
      ArqonBrain.Flow.link(false)
      ArqonBrain.Clock.use_module(ArqonBrain.Clock.System)
      NatsServer.stop(server)
    end)

    client =
      server.port
      |> RawNats.connect()
      |> RawNats.subscribe("inbox", 1)
      |> RawNats.subscribe("_arqon.>", 2)

    {:ok, client: client}
  end

  defp request(client, payload) do
    :ok =
      :gen_tcp.send(client.socket, [
        "PUB _test.clock.brain-7 inbox #{byte_size(payload)}\r\n",
        payload,
        "\r\n"
      ])

    {message, client} = RawNats.await(client, &match?({:msg, "inbox", _, _, _}, &1))
    {elem(message, 4), client}
  end

  defp say(client, body, from \\ "s1", subject \\ "_arqon.brain") do
    control = %{from: from, instance: 1, incarnation: 1, body: body}
    RawNats.publish(client, subject, IO.iodata_to_binary(Protobuf.encode(:control, control)))
  end

  defp heard(client, payload) do
    {heard, client} = told(client, payload)
    {for({subject, {kind, _fields}} <- heard, do: {subject, kind}), client}
  end

  # What the Brain has sent until the answer comes, without throwing it away.
  defp told(client, payload) do
    :ok =
      :gen_tcp.send(client.socket, [
        "PUB _test.clock.brain-7 inbox #{byte_size(payload)}\r\n",
        payload,
        "\r\n"
      ])

    collect(client, [])
  end

  defp collect(client, heard) do
    case RawNats.await(client, &match?({:msg, _, _, _, _}, &1)) do
      {{:msg, "inbox", _, _, "ok" <> _next}, client} ->
        {Enum.reverse(heard), client}

      {{:msg, subject, _, _, payload}, client} ->
        {:ok, %{from: from, body: body}} = Protobuf.decode(:control, payload)
        collect(client, if(from == "brain-7", do: [{subject, body} | heard], else: heard))
    end
  end

  test "time, barrier, view and reset", %{client: client} do
    {"ok", client} = request(client, "reset 1000 1700000000000")
    slice = Vectors.messages() |> List.keyfind("update", 0) |> elem(3)
    {:update, update} = slice.body
    client = client |> say({:hello, %{}})
    {heard, client} = heard(client, "barrier")
    assert {"_arqon.shield.s1", :welcome} in heard

    [%{slices: [own]} = room] = update.rooms
    own = %{own | shield: "s1", incarnation: 1}
    client = say(client, {:update, %{rooms: [%{room | slices: [own]}]}})
    {heard, client} = heard(client, "barrier")
    assert heard == [{"_arqon.rooms", :room_event}]
    {heard, client} = heard(client, "advance 1019 1700000000019")
    assert heard == []
    {heard, client} = heard(client, "advance 1020 1700000000020")
    assert heard == [{"_arqon.presence.acme.lobby", :update}]

    {"ok 3000", client} = request(client, "barrier")

    {views, client} = request(client, "views")
    assert views =~ ~s("users":1)
    assert views =~ ~s("members":2)

    assert views =~
             ~s("view":[{"user":"änn","sessions":[["000102030405060708090a0b0c0d0eff","7b2261223a317d"]]}])

    {rooms, client} = request(client, "rooms")
    assert rooms =~ ~s("generation":1700000000000)
    {shields, client} = request(client, "shields")
    assert shields =~ ~s("shield":"s1","up":true)
    {"0", client} = request(client, "shared")

    # Without a link it says nothing.
    {"ok", client} = request(client, "link down")
    {heard, client} = heard(client, "advance 3000 1700000002000")
    assert heard == []
    {heard, client} = heard(client, "link up")
    assert {"_arqon.shields", :beacon} in heard

    {"ok", client} = request(client, "reset 5000 1700000005000")
    assert {"", client} = request(client, "rooms")
    assert {"", client} = request(client, "shields")
    assert {"error" <> _, _client} = request(client, "nonsense")
  end

  test "modules come from a Shield and from another Brain, and go to that one", %{client: client} do
    {"ok", client} = request(client, "reset 1000 1700000000000")
    {new, old} = {:crypto.strong_rand_bytes(100_000), :crypto.strong_rand_bytes(60_000)}
    hash = &:crypto.hash(:sha256, &1)

    releases =
      for bytes <- [new, old],
          do: %{module: hash.(bytes), size: byte_size(bytes), version: "", at_ms: 0}

    policies = [%{name: "words", releases: releases}]
    settings = %{version: 0, rooms: [], policies: policies}
    client = say(client, {:hello, %{}})
    client = say(client, {:ask, %{id: 1, to: "brain-7", kind: {:set, settings}}})

    # The Shield has the one in force, the other Brain the older one.
    shield = %Modules{held: %{hash.(new) => new}}
    brain = %Modules{held: %{hash.(old) => old}}
    {asked, client} = serve(client, shield, brain, [])

    from = fn to, bytes ->
      for({^to, want} <- asked, want.module == hash.(bytes), do: want.offset)
    end

    assert from.("_arqon.shield.s1", new) == [0, 24_576, 49_152, 73_728, 98_304]
    assert from.("_arqon.shield.s1", old) == [0]
    assert from.("_arqon.brains", old) == [0, 24_576, 49_152]
    assert length(asked) == 9

    for bytes <- [new, old], reduce: client do
      client ->
        {got, client} = fetch(client, hash.(bytes), "")
        assert got == bytes
        client
    end
  end

  # Answers wants of the Brain until it has none.
  defp serve(client, shield, brain, asked) do
    {told, client} = told(client, "barrier")

    case for {subject, {:want, want}} <- told, do: {subject, want} do
      [] ->
        {Enum.reverse(asked), client}

      [{"_arqon.shield.s1", want} = one] ->
        client = say(client, {:part, Modules.answer(shield, want)})
        serve(client, shield, brain, [one | asked])

      [{"_arqon.brains", want} = one] ->
        client = say(client, {:part, Modules.answer(brain, want)}, "brain-8", "_arqon.brains")
        serve(client, shield, brain, [one | asked])
    end
  end

  # As a Brain that asks all others; who has no more says nothing.
  defp fetch(client, module, have) do
    want = {:want, %{to: "", module: module, offset: byte_size(have)}}
    {told, client} = client |> say(want, "brain-8", "_arqon.brains") |> told("barrier")

    case for {"_arqon.brains", {:part, part}} <- told, do: part do
      [] -> {have, client}
      [%{module: ^module, data: data}] -> fetch(client, module, have <> data)
    end
  end
end
