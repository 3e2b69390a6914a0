defmodule ArqonBrain.StoreTest do
  use ExUnit.Case, async: false

  alias ArqonBrain.{Health, LogTap, OsProcess, Store, ValkeyServer}

  @moduletag :tmp_dir
  @moduletag capture_log: true

  @far System.system_time(:millisecond) + 86_400_000

  defp revocation(user, at_ms \\ 10),
    do: %{tenant: "acme", user: user, session: "", jti: "", at_ms: at_ms, until_ms: @far}

  defp server(context, port \\ OsProcess.free_port(), arguments \\ []) do
    server = ValkeyServer.start(context.tmp_dir, port, arguments)
    on_exit(fn -> ValkeyServer.stop(server) end)
    server
  end

  defp store(valkey) do
    start_supervised!({Store, valkey: valkey}, restart: :temporary)
    Store.subscribe(self())
  end

  defp check, do: Enum.find(Health.readiness().checks, &(&1.name == :valkey))
  defp await_ok, do: OsProcess.wait_until(fn -> check().ok end, "Valkey")

  defp await_reason(part) do
    OsProcess.wait_until(
      fn -> check().reason =~ part end,
      "the reason #{part}; it is #{inspect(check())}"
    )

    assert check().optional
  end

  defp await_stored(server, command, expected) do
    OsProcess.wait_until(
      fn -> ValkeyServer.run(server, command) == expected end,
      "#{inspect(expected)} of #{inspect(command)}"
    )
  end

  test "without Valkey everything is answered at once" do
    store(nil)
    assert_receive {:store, {:loaded, %{revocations: [], settings: nil}}}
    Store.generation("acme.lobby", 7)
    assert_receive {:store, {:generation, "acme.lobby", 7}}
    Store.put_revocations([revocation("a")])
    Store.drop_generation("acme.lobby")
    Store.subscribe(self())
    assert_receive {:store, {:loaded, %{revocations: [%{user: "a"}]}}}
  end

  test "what was written is there after a restart of the Brain and of Valkey", context do
    server = server(context)
    store(ValkeyServer.config(server))
    assert_receive {:store, {:loaded, %{revocations: [], settings: nil}}}
    Store.put_revocations([revocation("a"), revocation("b")])
    Store.put_settings(<<0x08, 3>>)
    Store.generation("acme.lobby", 7)
    assert_receive {:store, {:generation, "acme.lobby", 7}}
    Store.generation("acme.lobby", 8)
    assert_receive {:store, {:generation, "acme.lobby", 7}}
    await_stored(server, ["HLEN", "arqon:revocations"], 2)
    stop_supervised!(Store)

    ValkeyServer.stop(server)
    server = server(context, server.port)
    store(ValkeyServer.config(server))
    assert_receive {:store, {:loaded, loaded}}
    assert Enum.sort(loaded.revocations) == [revocation("a"), revocation("b")]
    assert loaded.settings == <<0x08, 3>>
    Store.generation("acme.lobby", 99)
    assert_receive {:store, {:generation, "acme.lobby", 7}}
    Store.drop_generation("acme.lobby")
    Store.generation("acme.lobby", 100)
    assert_receive {:store, {:generation, "acme.lobby", 100}}
  end

  test "modules are written, read by the next Brain, and run out when they are named no more",
       context do
    server = server(context)
    store(ValkeyServer.config(server))
    assert_receive {:store, {:loaded, _nothing}}
    bytes = :crypto.strong_rand_bytes(4 * 1024 * 1024)
    module = :crypto.hash(:sha256, bytes)
    key = "arqon:module:" <> Base.encode16(module, case: :lower)
    Store.put_module(module, bytes)
    await_stored(server, ["HLEN", key], 8)
    stop_supervised!(Store)

    store(ValkeyServer.config(server))
    assert_receive {:store, {:loaded, _nothing}}
    Store.read_modules([:crypto.hash(:sha256, "other"), module])
    assert_receive {:store, {:module, ^module, ^bytes}}, 5_000
    Store.put_module(module, bytes)
    Store.drop_modules([module])
    OsProcess.wait_until(fn -> ValkeyServer.run(server, ["TTL", key]) > 0 end, "an end")
    Store.put_module(module, bytes)
    await_stored(server, ["TTL", key], -1)
  end

  test "ten thousand revocations are written and loaded", context do
    server = server(context)
    store(ValkeyServer.config(server))
    assert_receive {:store, {:loaded, _empty}}
    Store.put_revocations(for n <- 1..10_000, do: revocation("user-#{n}"))
    await_stored(server, ["HLEN", "arqon:revocations"], 10_000)
    stop_supervised!(Store)
    store(ValkeyServer.config(server))
    assert_receive {:store, {:loaded, loaded}}
    assert length(loaded.revocations) == 10_000
  end

  test "what was said before the end is written before the end", context do
    server = server(context)
    store(ValkeyServer.config(server))
    assert_receive {:store, {:loaded, _empty}}
    Store.put_revocations(for n <- 1..5_000, do: revocation("user-#{n}"))
    stop_supervised!(Store)
    assert ValkeyServer.run(server, ["HLEN", "arqon:revocations"]) == 5_000
  end

  test "Valkey that is not there at the start is degraded, and what was said meanwhile is written later",
       context do
    port = OsProcess.free_port()
    store(ValkeyServer.config(%{port: port}))
    await_reason("connection refused")
    Store.put_revocations([revocation("a")])
    Store.generation("acme.lobby", 7)
    Store.put_settings(<<0x08, 3>>)
    refute_received {:store, _anything}
    server = server(context, port)

    assert_receive {:store, {:loaded, %{revocations: [%{user: "a"}], settings: <<0x08, 3>>}}}

    assert_receive {:store, {:generation, "acme.lobby", 7}}
    await_ok()
    await_stored(server, ["HLEN", "arqon:revocations"], 1)
    await_stored(server, ["HLEN", "arqon:settings"], 1)
  end

  test "Valkey that goes away in between comes back with everything, even if it has lost all",
       context do
    server = server(context)
    store(ValkeyServer.config(server))
    assert_receive {:store, {:loaded, _empty}}
    Store.put_revocations([revocation("a")])
    await_stored(server, ["HLEN", "arqon:revocations"], 1)
    ValkeyServer.stop(server)
    # Nobody writes: the store notices by itself.
    await_reason("127.0.0.1:#{server.port}")
    Store.put_revocations([revocation("b")])
    File.rm_rf!(Path.join(context.tmp_dir, "appendonlydir"))
    File.rm_rf!(Path.join(context.tmp_dir, "appendonly.aof"))
    server = server(context, server.port)
    assert_receive {:store, {:loaded, %{revocations: [_one, _two]}}}
    await_stored(server, ["HLEN", "arqon:revocations"], 2)
    await_ok()
  end

  test "Valkey that stands still blocks nobody and is noticed", context do
    server = server(context)
    store(ValkeyServer.config(server))
    assert_receive {:store, {:loaded, _empty}}
    OsProcess.signal(server.process, "STOP")
    began = System.monotonic_time(:millisecond)
    for n <- 1..1_000, do: Store.put_revocations([revocation("u#{n}")])
    assert System.monotonic_time(:millisecond) - began < 5_000
    await_reason("no answer in time")
    OsProcess.signal(server.process, "CONT")
    await_ok()
    await_stored(server, ["HLEN", "arqon:revocations"], 1_000)
  end

  test "writers that are faster than the store are refused, and counted", _context do
    store(nil)
    assert_receive {:store, {:loaded, _empty}}
    pid = Process.whereis(Store)
    before = ArqonBrain.Metrics.get(:store_dropped_total, kind: :drop)
    :ok = :sys.suspend(pid)
    for _n <- 1..20_100, do: Store.drop_generation("acme.lobby")
    {:message_queue_len, waiting} = Process.info(pid, :message_queue_len)
    :ok = :sys.resume(pid)
    assert waiting == 20_000
    assert ArqonBrain.Metrics.get(:store_dropped_total, kind: :drop) == before + 100
    Store.subscribe(self())
    assert_receive {:store, {:loaded, _empty}}
  end

  test "a password, and a wrong one", context do
    right = Path.join(context.tmp_dir, "right")
    wrong = Path.join(context.tmp_dir, "wrong")
    File.write!(right, "secret\n")
    File.write!(wrong, "nope\n")
    server = server(context, OsProcess.free_port(), ["--requirepass", "secret"])
    store(ValkeyServer.config(server, password_file: wrong))
    await_reason("WRONGPASS")
    stop_supervised!(Store)
    store(ValkeyServer.config(server))
    await_reason("NOAUTH")
    stop_supervised!(Store)
    store(ValkeyServer.config(server, password_file: right <> "-missing"))
    await_reason("no such file")
    stop_supervised!(Store)
    store(ValkeyServer.config(server, user: "default", password_file: right))
    assert_receive {:store, {:loaded, _empty}}
    await_ok()
  end

  test "a server that takes no writes is degraded, and gets them when it does", context do
    server =
      server(context, OsProcess.free_port(), [
        "--maxmemory",
        "1",
        "--maxmemory-policy",
        "noeviction"
      ])

    store(ValkeyServer.config(server))
    assert_receive {:store, {:loaded, _empty}}
    log = LogTap.start()
    Store.put_revocations([revocation("a")])
    await_reason("OOM")

    # It is not tried again and again at full speed, and that it is so is said once.
    OsProcess.wait_until(fn -> :sys.get_state(Store).failures >= 4 end, "some more tries")
    assert [_before, _after] = String.split(log.(), "nothing is written down")
    "OK" = ValkeyServer.run(server, ["CONFIG", "SET", "maxmemory", "0"])
    await_stored(server, ["HLEN", "arqon:revocations"], 1)
    await_ok()
  end

  test "somebody else's value under a key of ours is left alone", context do
    server = server(context)
    "1" = to_string(ValkeyServer.run(server, ["RPUSH", "arqon:room:acme.lobby", "x"]))
    store(ValkeyServer.config(server))
    Store.generation("acme.lobby", 7)
    assert_receive {:store, {:generation, "acme.lobby", 7}}
    assert ["x"] == ValkeyServer.run(server, ["LRANGE", "arqon:room:acme.lobby", "0", "9"])
  end
end
