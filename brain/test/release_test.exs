defmodule ArqonBrain.ReleaseTest do
  use ExUnit.Case, async: false

  alias ArqonBrain.{ConfigFixture, Json, NatsServer, OsProcess, RawNats, ValkeyServer}
  alias ArqonBrain.Wire.{Message, Protobuf}

  @moduletag :tmp_dir
  @moduletag timeout: 180_000

  setup_all do
    folder = Path.expand("_build/release_test")
    arguments = ["release", "--quiet", "--overwrite", "--path", folder]

    {output, status} =
      System.cmd("mix", arguments, env: [{"MIX_ENV", "prod"}], stderr_to_stdout: true)

    assert status == 0, output
    {:ok, program: Path.join(folder, "bin/brain")}
  end

  # From another folder and with an environment that would break a virtual machine that looked at it.
  defp run(context, arguments) do
    Port.open({:spawn_executable, context.program}, [
      :binary,
      :exit_status,
      :stderr_to_stdout,
      line: 4_096,
      args: arguments,
      cd: context.tmp_dir,
      env: [
        {~c"ERL_FLAGS", ~c"-bogus +X"},
        {~c"ERL_AFLAGS", ~c"-sname x"},
        {~c"RELEASE_NODE", ~c"x"}
      ]
    ])
  end

  defp await(port, lines \\ []) do
    receive do
      {^port, {:data, {_eol, line}}} -> await(port, [line | lines])
      {^port, {:exit_status, status}} -> {status, Enum.reverse(lines)}
    after
      30_000 -> flunk("still runs after 30 s; it said: #{inspect(Enum.reverse(lines))}")
    end
  end

  defp await_line(port, fits) do
    receive do
      {^port, {:data, {:eol, line}}} -> if line =~ fits, do: line, else: await_line(port, fits)
      {^port, {:exit_status, status}} -> flunk("ended with #{status}")
    after
      30_000 -> flunk("never said #{inspect(fits)}")
    end
  end

  # In any order.
  defp await_lines(_port, []), do: :ok

  defp await_lines(port, awaited) do
    line = await_line(port, ~r//)
    await_lines(port, Enum.reject(awaited, &(line =~ &1)))
  end

  defp config(context, replace) do
    File.write!(Path.join(context.tmp_dir, "brain.config"), ConfigFixture.file_text(replace))
    "brain.config"
  end

  defp get(port, path) do
    {:ok, socket} = :gen_tcp.connect({127, 0, 0, 1}, port, [:binary, active: false, packet: :raw])
    :ok = :gen_tcp.send(socket, "GET #{path} HTTP/1.1\r\n\r\n")
    [head, body] = socket |> all("") |> String.split("\r\n\r\n", parts: 2)
    {head |> String.split(" ") |> Enum.at(1), body}
  end

  defp all(socket, done) do
    case :gen_tcp.recv(socket, 0, 30_000) do
      {:ok, bytes} -> all(socket, done <> bytes)
      {:error, :closed} -> done
    end
  end

  test "it starts, is ready, reads its file again, and ends in order", context do
    server = NatsServer.start(context.tmp_dir)
    on_exit(fn -> NatsServer.stop(server) end)
    address = {"nats://127.0.0.1:4222", "nats://127.0.0.1:#{server.port}"}
    port = run(context, [config(context, [address])])
    {:os_pid, pid} = Port.info(port, :os_pid)
    "brain-1: ready; admin port http://127.0.0.1:" <> admin = await_line(port, ~r/ready/)
    admin = String.to_integer(admin)

    assert {"200", ~S({"live":true})} = get(admin, "/health/live")
    {"200", body} = get(admin, "/health/ready")
    assert {:ok, %{"ready" => true, "degraded" => false}} = Json.decode(body)
    {"200", body} = get(admin, "/metrics")
    assert body =~ "\narqon_brain_spine_up 1\n"

    config(context, [address, {"{log_level, info}", "{log_level, debug}"}])
    OsProcess.signal(to_string(pid), "HUP")
    assert await_line(port, ~r/configuration: read again/) =~ "changed: log_level"
    config(context, [address, {"{shards, 2}", "{shards, 3}"}])
    OsProcess.signal(to_string(pid), "HUP")
    assert await_line(port, ~r/configuration: refused/) =~ "shards can only change with a restart"

    NatsServer.stop(server)
    await_line(port, ~r/NATS: .*closed/)
    {"503", body} = get(admin, "/health/ready")
    assert body =~ "127.0.0.1:#{server.port}"

    OsProcess.signal(to_string(pid), "TERM")
    assert {0, _lines} = await(port)
  end

  test "a Shield is welcomed, and a revocation outlives the Brain and Valkey", context do
    nats = NatsServer.start(context.tmp_dir)
    valkey = ValkeyServer.start(context.tmp_dir)
    on_exit(fn -> NatsServer.stop(nats) end)

    file =
      config(context, [
        {"nats://127.0.0.1:4222", "nats://127.0.0.1:#{nats.port}"},
        {"{valkey, none}",
         "{valkey, [{address, {<<\"127.0.0.1\">>, #{valkey.port}}}, {prefix, <<\"arqon\">>}]}"}
      ])

    shield = RawNats.connect(nats.port) |> RawNats.subscribe("_arqon.shield.s1", 1)
    brain = run(context, [file])
    await_line(brain, ~r/ready/)
    say(shield, {:hello, %{}})
    {%{accepted: true}, shield} = hear(shield, :welcome)
    {%{shields: [%{shield: "s1"}]}, shield} = hear(shield, :beacon)

    until_ms = System.system_time(:millisecond) + 3_600_000

    revocation = %{
      tenant: "acme",
      user: "ann",
      session: "",
      jti: "",
      at_ms: 7,
      until_ms: until_ms
    }

    say(shield, {:ask, %{id: 1, to: "brain-1", kind: {:revoke, revocation}}})
    {%{error: 0, id: 1}, shield} = hear(shield, :answer)
    stored = fn -> ValkeyServer.run(valkey, ["HLEN", "arqon:revocations"]) == 1 end
    OsProcess.wait_until(stored, "the revocation in Valkey")
    stop(brain)

    ValkeyServer.stop(valkey)
    valkey = ValkeyServer.start(context.tmp_dir, valkey.port)
    on_exit(fn -> ValkeyServer.stop(valkey) end)
    brain = run(context, [file])
    await_lines(brain, [~r/Valkey: connected/, ~r/ready/])
    say(shield, {:hello, %{}})
    {_welcome, shield} = hear(shield, :welcome)
    say(shield, {:shared, %{pull: "brain-1"}})
    {%{revoked: [^revocation]}, _shield} = hear(shield, :shared)
    stop(brain)
  end

  defp stop(brain) do
    {:os_pid, pid} = Port.info(brain, :os_pid)
    OsProcess.signal(to_string(pid), "TERM")
    assert {0, _lines} = await(brain)
  end

  defp say(client, body) do
    control = %{from: "s1", instance: 1, incarnation: 1, body: body}

    RawNats.publish(
      client,
      "_arqon.brain",
      IO.iodata_to_binary(Protobuf.encode(:control, control))
    )
  end

  # The next message of a kind for the Shield.
  defp hear(client, kind) do
    {{:msg, _subject, _sid, _reply, payload}, client} =
      RawNats.await(client, &match?({:msg, _, _, _, _}, &1))

    {:ok, %{from: "brain-1"}} = Message.decode(payload)
    {:ok, %{body: {heard, fields}}} = Protobuf.decode(:control, payload)
    if heard == kind, do: {fields, client}, else: hear(client, kind)
  end

  test "a start that fails ends at once, with one line that says why", context do
    {status, lines} =
      context |> run([config(context, [{"{shards, 2}", "{shard, 2}"}])]) |> await()

    file = Path.join(context.tmp_dir, "brain.config")
    assert {status, lines} == {1, ["brain: #{file}: shard: unknown key; did you mean shards?"]}

    {:ok, taken} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, number} = :inet.port(taken)
    listen = [{"{<<\"127.0.0.1\">>, 0}", "{<<\"127.0.0.1\">>, #{number}}"}]
    {status, lines} = context |> run([config(context, listen)]) |> await()
    assert status == 1
    # Beside what the log says meanwhile.
    assert "brain: admin_listen: 127.0.0.1:#{number}: address already in use" in lines

    assert {64, ["usage: brain FILE" <> _rest]} = context |> run([]) |> await()
    {status, lines} = context |> run(["missing.config"]) |> await()
    assert status == 1
    assert [line] = lines
    assert line =~ "missing.config: cannot be read: no such file or directory"
  end
end
