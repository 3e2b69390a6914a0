defmodule ArqonBrain.Nats.TlsTest do
  use ExUnit.Case, async: false

  alias ArqonBrain.{Certificates, NatsServer, OsProcess, RawNats}
  alias ArqonBrain.Nats.{Connection, Handshake, Transport}

  @moduletag :tmp_dir
  @moduletag capture_log: true

  defmodule Control do
    def link(up), do: send(:persistent_term.get(__MODULE__), {:link, up})
    def handle(_subject, payload), do: send(:persistent_term.get(__MODULE__), {:handle, payload})
  end

  defp open(server, host, tls, scheme \\ :tls) do
    spine = NatsServer.spine(server, servers: [{scheme, host, server.port}], tls: tls)

    case Handshake.open(hd(spine.servers), spine, "brain-1", 65_536, 30_000) do
      {:ok, accepted} -> Transport.abort(accepted.transport)
      {:error, reason} -> {:error, reason}
    end
  end

  # Its own listener on the loopback address shows as open before TLS is spoken.
  defp server(context, certificates, more \\ "", besides \\ "") do
    tls =
      "tls {cert_file: \"#{certificates.cert_file}\", key_file: \"#{certificates.key_file}\", timeout: 30#{more}}"

    server = NatsServer.start(context.tmp_dir, tls <> "\n" <> besides)
    on_exit(fn -> NatsServer.stop(server) end)
    server
  end

  defp ca(certificates), do: %{ca_file: certificates.ca_file, cert_file: nil, key_file: nil}

  test "the server has to be known and to be the one that was meant", context do
    ours =
      Certificates.make(context.tmp_dir, "ours",
        dNSName: ~c"localhost",
        iPAddress: <<127, 0, 0, 1>>
      )

    others = Certificates.make(context.tmp_dir, "others", dNSName: ~c"localhost")
    server = server(context, ours)
    assert :ok == open(server, "localhost", ca(ours))
    assert :ok == open(server, "127.0.0.1", ca(ours))
    assert :ok == open(server, "localhost", ca(ours), :tcp)
    assert {:error, reason} = open(server, "localhost", ca(others))
    assert reason =~ "Unknown CA" or reason =~ "unknown_ca"

    assert {:error, reason} =
             open(server, "localhost", %{ca(ours) | ca_file: ours.ca_file <> "-missing"})

    assert reason =~ "spine.tls"
  end

  test "a certificate for another name is refused", context do
    other =
      Certificates.make(context.tmp_dir, "other",
        dNSName: ~c"nats.example",
        iPAddress: <<127, 0, 0, 9>>
      )

    server = server(context, other)

    for host <- ["localhost", "127.0.0.1"] do
      assert {:error, reason} = open(server, host, ca(other))
      assert reason =~ "hostname_check_failed" or reason =~ "Handshake Failure", reason
    end
  end

  test "TLS on one side only is refused, without anything secret being said", context do
    ours = Certificates.make(context.tmp_dir, "ours", dNSName: ~c"localhost")
    plain = NatsServer.start(context.tmp_dir, "")
    on_exit(fn -> NatsServer.stop(plain) end)
    assert {:error, reason} = open(plain, "localhost", ca(ours))
    assert reason =~ "the server offers no TLS"
    assert {:error, reason} = open(plain, "localhost", nil)
    assert reason =~ "the server wants TLS"
    assert {:error, reason} = open(server(context, ours), "localhost", nil, :tcp)
    assert reason =~ "the server wants TLS"
  end

  test "a server that wants to know the client gets its certificate", context do
    ours = Certificates.make(context.tmp_dir, "ours", dNSName: ~c"localhost")
    server = server(context, ours, ", ca_file: \"#{ours.ca_file}\", verify: true")
    with_own = Map.take(ours, [:ca_file, :cert_file, :key_file])
    assert :ok == open(server, "localhost", with_own)
    assert {:error, _reason} = open(server, "localhost", ca(ours))
  end

  test "a connection works over TLS, and a server that stands still is noticed", context do
    :persistent_term.put(Control, self())
    ours = Certificates.make(context.tmp_dir, "ours", dNSName: ~c"localhost")
    server = server(context, ours, "", "allow_non_tls: true\n")
    spine = NatsServer.spine(server, servers: [{:tls, "localhost", server.port}], tls: ca(ours))
    start_supervised!({Connection, name: "brain-1", spine: spine, control: Control})
    assert_receive {:link, true}
    client = RawNats.connect(server.port) |> RawNats.subscribe("_arqon.shields", 1)
    for n <- 1..300, do: RawNats.publish(client, "_arqon.brain", "in#{n}")

    for n <- 1..300 do
      payload = "in#{n}"
      assert_receive {:handle, ^payload}
    end

    :ok = Connection.publish("_arqon.shields", String.duplicate("x", 30_000))
    assert {{:msg, _, _, _, _}, _client} = RawNats.await(client, &match?({:msg, _, _, _, _}, &1))
    OsProcess.signal(server.process, "STOP")
    began = System.monotonic_time(:millisecond)
    for _n <- 1..150, do: Connection.publish("_arqon.shields", String.duplicate("x", 60_000))
    assert_receive {:link, false}
    took = System.monotonic_time(:millisecond) - began
    # 4.5 s, and what a busy machine adds; without the watch it would be minutes.
    assert took < 30_000, "noticed after #{took} ms"
    OsProcess.signal(server.process, "CONT")
    assert_receive {:link, true}
  end
end
