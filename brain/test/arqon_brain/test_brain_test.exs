defmodule ArqonBrain.TestBrainTest do
  @moduledoc "A whole Brain over a real nats-server, driven as the differential test in Rust drives it."
  use ExUnit.Case, async: false

  alias ArqonBrain.{ConfigFixture, NatsServer, RawNats, TestBrain, Vectors}
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

  defp say(client, body) do
    control = %{from: "s1", instance: 1, incarnation: 1, body: body}

    RawNats.publish(
      client,
      "_arqon.brain",
      IO.iodata_to_binary(Protobuf.encode(:control, control))
    )
  end

  # What the Brain has sent until the answer comes, without throwing it away.
  defp heard(client, payload) do
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
        {:ok, %{from: from, body: {kind, _}}} = Protobuf.decode(:control, payload)
        collect(client, if(from == "brain-7", do: [{subject, kind} | heard], else: heard))
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
end
