defmodule ArqonBrain.Nats.ConnectionTest do
  use ExUnit.Case, async: false

  import ExUnit.CaptureLog

  alias ArqonBrain.{Health, NatsServer, OsProcess, RawNats}
  alias ArqonBrain.Nats.Connection

  @moduletag :tmp_dir
  @moduletag capture_log: true

  # Hands everything to the test.
  defmodule Control do
    def link(up), do: tell({:link, up})
    def handle(subject, payload), do: tell({:handle, subject, payload})

    defp tell(message), do: send(:persistent_term.get(__MODULE__), message)
  end

  setup do
    :persistent_term.put(Control, self())
    :ok
  end

  defp connect(servers, overrides \\ [], extra \\ []) do
    spine = NatsServer.spine(servers, overrides)
    options = [name: "brain-1", spine: spine, control: Control, extra: extra]
    start_supervised!({Connection, options}, restart: :temporary)
  end

  defp server(context, config \\ "", port \\ OsProcess.free_port()) do
    server = NatsServer.start(context.tmp_dir, config, port)
    on_exit(fn -> NatsServer.stop(server) end)
    server
  end

  defp spine_check, do: Enum.find(Health.readiness().checks, &(&1.name == :spine))

  defp await_reason(part) do
    OsProcess.wait_until(
      fn -> spine_check().reason =~ part end,
      "the reason #{part}; it is #{inspect(spine_check())}"
    )
  end

  test "what is published arrives in order, and what is sent to the Brain's subjects is handled in order",
       context do
    server = server(context)
    connect(server)
    assert_receive {:link, true}
    assert spine_check().ok
    client = RawNats.connect(server.port) |> RawNats.subscribe("_arqon.>", 1)

    for n <- 1..2_000,
        do: assert(:ok == Connection.publish("_arqon.shields", ["n", Integer.to_string(n)]))

    client =
      Enum.reduce(1..2_000, client, fn n, client ->
        {{:msg, subject, _sid, _reply, payload}, client} =
          RawNats.await(client, &match?({:msg, _, _, _, _}, &1))

        assert {subject, payload} == {"_arqon.shields", "n#{n}"}
        client
      end)

    for n <- 1..2_000,
        do:
          RawNats.publish(client, Enum.at(["_arqon.brain", "_arqon.brains"], rem(n, 2)), "m#{n}")

    for n <- 1..2_000 do
      assert_receive {:handle, subject, payload}

      assert {subject, payload} ==
               {Enum.at(["_arqon.brain", "_arqon.brains"], rem(n, 2)), "m#{n}"}
    end
  end

  test "a further subscription has its own handler, which is told where to reply", context do
    server = server(context)

    connect(server, [], [
      {"_test.clock.brain-1",
       fn reply, payload -> Connection.publish(reply, ["got ", payload]) end}
    ])

    assert_receive {:link, true}
    client = RawNats.connect(server.port) |> RawNats.subscribe("inbox.1", 1)
    :ok = :gen_tcp.send(client.socket, "PUB _test.clock.brain-1 inbox.1 2\r\nhi\r\n")

    assert {{:msg, "inbox.1", "1", nil, "got hi"}, _client} =
             RawNats.await(client, &match?({:msg, _, _, _, _}, &1))
  end

  test "without a server nothing is taken, and the reason is told", context do
    port = OsProcess.free_port()
    connect(%{port: port})
    await_reason("127.0.0.1:#{port}: connection refused")
    assert {:error, :down} == Connection.publish("a", "b")
    refute Health.readiness().ready
    server(context, "", port)
    assert_receive {:link, true}
    assert :ok == Connection.publish("a", "b")
  end

  test "a server that is killed is noticed and its successor found", context do
    server = server(context)
    connect(server)
    assert_receive {:link, true}
    NatsServer.stop(server)
    assert_receive {:link, false}
    assert {:error, :down} == Connection.publish("a", "b")
    server(context, "", server.port)
    assert_receive {:link, true}
    client = RawNats.connect(server.port)
    RawNats.publish(client, "_arqon.brain", "again")
    assert_receive {:handle, "_arqon.brain", "again"}
  end

  test "the next server of the list takes over", context do
    first = server(context)
    second = server(context)
    connect([first, second])
    assert_receive {:link, true}
    # The order is drawn; the one that is used is the one that has our subscription.
    used = if heard([first, second]) == first.port, do: first, else: second
    NatsServer.stop(used)
    assert_receive {:link, false}
    assert_receive {:link, true}
    other = if used == first, do: second, else: first
    assert heard([other]) == other.port
  end

  # The port of the server over which the Brain hears what each of them is told.
  defp heard(servers) do
    for %{port: port} <- servers,
        do: port |> RawNats.connect() |> RawNats.publish("_arqon.brain", "#{port}")

    assert_receive {:handle, "_arqon.brain", port}
    String.to_integer(port)
  end

  test "a server that stands still is noticed within seconds, whatever waits to be written",
       context do
    server = server(context)
    connect(server, queue_bytes_max: 16_777_216)
    assert_receive {:link, true}
    OsProcess.signal(server.process, "STOP")
    began = System.monotonic_time(:millisecond)
    # More than the kernel's buffers hold: the writer is stuck in its send, and the bound is met.
    assert {:error, :full} == publish_until_refused(String.duplicate("x", 60_000), 10_000)
    assert_receive {:link, false}
    took = System.monotonic_time(:millisecond) - began
    # 4.5 s, and what a busy machine adds; without the watch it would be minutes.
    assert took < 30_000, "noticed after #{took} ms"
    OsProcess.signal(server.process, "CONT")
    assert_receive {:link, true}
  end

  defp publish_until_refused(payload, left) when left > 0 do
    case Connection.publish("_arqon.shields", payload) do
      :ok -> publish_until_refused(payload, left - 1)
      refused -> refused
    end
  end

  test "stopping handles what has arrived and sends what was published", context do
    server = server(context)
    connect(server)
    assert_receive {:link, true}
    client = RawNats.connect(server.port) |> RawNats.subscribe("_arqon.shields", 1)
    for n <- 1..500, do: RawNats.publish(client, "_arqon.brain", "in#{n}")
    client = RawNats.sync(client)
    for n <- 1..500, do: :ok = Connection.publish("_arqon.shields", "out#{n}")
    stop_supervised!(Connection)

    for n <- 1..500 do
      payload = "in#{n}"
      assert_received {:handle, "_arqon.brain", ^payload}
    end

    last = fn message -> match?({:msg, _, _, _, "out500"}, message) end
    assert {{:msg, "_arqon.shields", _, _, "out500"}, _client} = RawNats.await(client, last)
    assert {:error, :down} == Connection.publish("a", "b")
  end

  test "a flood is handled in order while the control module is slow, and the server survives it",
       context do
    server = server(context)
    connection = connect(server)
    assert_receive {:link, true}
    payload = String.duplicate("x", 30_000)
    :ok = :sys.suspend(connection)
    client = RawNats.connect(server.port)
    for n <- 1..200, do: RawNats.publish(client, "_arqon.brain", "#{n} #{payload}")
    RawNats.sync(client)
    {:message_queue_len, waiting} = Process.info(connection, :message_queue_len)
    assert waiting <= 40
    :ok = :sys.resume(connection)

    for n <- 1..200 do
      assert_receive {:handle, "_arqon.brain", payload}
      assert {^n, " " <> _rest} = Integer.parse(payload)
    end
  end

  test "a server that gives up on a slow Brain is found again", context do
    server =
      server(context, "max_payload: 131072\nmax_pending: 262144\nwrite_deadline: \"100ms\"\n")

    connection = connect(server)
    assert_receive {:link, true}
    :ok = :sys.suspend(connection)
    client = RawNats.connect(server.port)
    # More than the buffers of both ends and what the server is willing to hold.
    payload = String.duplicate("x", 60_000)
    for _n <- 1..400, do: RawNats.publish(client, "_arqon.brain", payload)
    RawNats.sync(client)
    :ok = :sys.resume(connection)
    assert_receive {:link, false}
    assert_receive {:link, true}
    RawNats.publish(client, "_arqon.brain", "again")
    assert_receive {:handle, "_arqon.brain", "again"}
  end

  test "a message that is too large is passed over", context do
    server = server(context)
    connect(server)
    assert_receive {:link, true}
    client = RawNats.connect(server.port)
    RawNats.publish(client, "_arqon.brain", String.duplicate("x", 65_537))
    RawNats.publish(client, "_arqon.brain", "small")
    assert_receive {:handle, "_arqon.brain", "small"}
    assert {:error, :full} == Connection.publish("a", String.duplicate("x", 1_048_577))
    assert {:error, :full} == Connection.publish("a\r\nPING", "x")
  end

  test "a subscription that is not allowed is a failed connection that says so", context do
    server =
      server(
        context,
        ~s(authorization {users = [{user: b, password: p, permissions: {subscribe: ["_arqon.brain"]}}]})
      )

    file = Path.join(context.tmp_dir, "password")
    File.write!(file, "p\n")
    connect(server, auth: {:password, "b", file})
    await_reason("Permissions Violation for Subscription to \"_arqon.brains\"")
    refute_received {:link, true}
  end

  test "a publication that is not allowed is told and the connection stays", context do
    permissions = ~s(permissions: {publish: ["_arqon.shields"], subscribe: [">"]})
    server = server(context, "authorization {users = [{user: b, password: p, #{permissions}}]}")
    file = Path.join(context.tmp_dir, "password")
    File.write!(file, "p")
    connect(server, auth: {:password, "b", file})
    assert_receive {:link, true}

    # Counted for all tests of this virtual machine, and after it was logged.
    count = fn -> ArqonBrain.Metrics.get(:spine_lost_total, reason: :not_allowed) end
    before = count.()

    log =
      capture_log(fn ->
        :ok = Connection.publish("acme.lobby", "x")
        client = RawNats.connect(server.port, ~s({"user":"b","pass":"p","verbose":false}))
        RawNats.publish(client |> RawNats.subscribe("x", 1), "_arqon.shields", "y")
        lost = fn -> count.() > before end
        OsProcess.wait_until(lost, "the violation")
      end)

    assert log =~ "Permissions Violation for Publish to"
    assert spine_check().ok
    refute_received {:link, false}
  end

  test "what happens with each message is not logged with each", context do
    permissions = ~s(permissions: {publish: ["_arqon.shields"], subscribe: [">"]})

    server =
      server(
        context,
        "authorization {users = [{user: b, password: p, #{permissions}}, {user: c, password: p}]}"
      )

    file = Path.join(context.tmp_dir, "password")
    File.write!(file, "p")
    connect(server, auth: {:password, "b", file})
    assert_receive {:link, true}
    count = &ArqonBrain.Metrics.get/2
    refused = count.(:spine_lost_total, reason: :not_allowed)
    skipped = count.(:spine_skipped_total, [])

    log =
      capture_log(fn ->
        for n <- 1..50, do: :ok = Connection.publish("acme.lobby-#{n}", "x")
        client = RawNats.connect(server.port, ~s({"user":"c","pass":"p","verbose":false}))

        for n <- 1..50,
            do: RawNats.publish(client, "_arqon.brain", String.duplicate("x", 65_536 + n))

        all? = fn ->
          count.(:spine_lost_total, reason: :not_allowed) == refused + 50 and
            count.(:spine_skipped_total, []) == skipped + 50
        end

        OsProcess.wait_until(all?, "all of them")
      end)

    assert [_before, _after] = String.split(log, "Permissions Violation")
    assert [_before, _after] = String.split(log, "was not read")
  end

  test "a server that takes connections and ends them is not tried and told without end" do
    {:ok, listener} = :gen_tcp.listen(0, [:binary, ip: {127, 0, 0, 1}, active: false])
    {:ok, port} = :inet.port(listener)
    test = self()

    server =
      spawn_link(fn ->
        fun = fn fun, n ->
          {:ok, socket} = :gen_tcp.accept(listener)
          send(test, {:connected, n})
          :ok = :gen_tcp.send(socket, ~s(INFO {"max_payload":1048576}\r\n))
          answer_pings(socket, 2)
          :gen_tcp.close(socket)
          fun.(fun, n + 1)
        end

        fun.(fun, 1)
      end)

    log =
      capture_log(fn ->
        connect(%{port: port})
        for n <- 1..9, do: assert_receive({:connected, ^n}, 10_000)
        # The waits before: at least half of 50, 100, 200, 400, 800, 1000 and 1000 ms.
        assert :sys.get_state(Connection).failures >= 7
        stop_supervised!(Connection)
      end)

    Process.unlink(server)
    Process.exit(server, :kill)
    assert [_before, _after] = String.split(log, "trying again")
    refute log =~ "connected to"
  end

  # Of the handshake, and of the subscriptions.
  defp answer_pings(_socket, 0), do: :ok

  defp answer_pings(socket, left) do
    case :gen_tcp.recv(socket, 0, 30_000) do
      {:ok, bytes} ->
        pings = length(String.split(bytes, "PING\r\n")) - 1
        :ok = :gen_tcp.send(socket, String.duplicate("PONG\r\n", pings))
        answer_pings(socket, max(left - pings, 0))

      {:error, _closed} ->
        :ok
    end
  end

  test "a connection that crashes says that the link is gone", context do
    server = server(context)
    connection = connect(server)
    assert_receive {:link, true}
    # Of the kind that runs `terminate`.
    :ok = GenServer.stop(connection, :crashed)
    assert_receive {:link, false}
  end
end
