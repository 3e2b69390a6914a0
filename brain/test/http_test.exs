defmodule ArqonBrain.HttpTest do
  use ExUnit.Case, async: false

  alias ArqonBrain.{Health, Http, Json, Metrics, OsProcess}

  @moduletag capture_log: true

  setup do
    start_supervised!({Http.Server, listen: {"127.0.0.1", 0}})
    for check <- Health.readiness().checks, do: Health.set(check.name, :ok)
    {:ok, port: Http.Server.port()}
  end

  defp connect(port) do
    {:ok, socket} = :gen_tcp.connect({127, 0, 0, 1}, port, [:binary, active: false])
    socket
  end

  defp ask(port, text) do
    socket = connect(port)
    :ok = :gen_tcp.send(socket, text)
    all(socket, "")
  end

  defp all(socket, done) do
    case :gen_tcp.recv(socket, 0, 30_000) do
      {:ok, bytes} -> all(socket, done <> bytes)
      {:error, reason} when reason in [:closed, :econnreset] -> done
    end
  end

  defp get(port, path) do
    answer = ask(port, "GET #{path} HTTP/1.1\r\nHost: x\r\nUser-Agent: test\r\n\r\n")
    [head, body] = String.split(answer, "\r\n\r\n", parts: 2)
    "HTTP/1.1 " <> <<status::binary-size(3)>> <> _rest = head
    assert head =~ "content-length: #{byte_size(body)}"
    {String.to_integer(status), head, body}
  end

  test "live, ready and not ready, as the Shield tells it", %{port: port} do
    assert {200, _head, ~S({"live":true})} = get(port, "/health/live")
    assert {200, head, body} = get(port, "/health/ready?verbose")
    assert head =~ "content-type: application/json"

    assert {:ok, %{"ready" => true, "degraded" => false, "checks" => [_one | _more]}} =
             Json.decode(body)

    Health.set(:valkey, {:degraded, "no \"Valkey\""})
    assert {200, _head, body} = get(port, "/health/ready")
    assert body =~ ~S({"name":"valkey","ok":false,"optional":true,"reason":"no \"Valkey\""})
    assert {:ok, %{"ready" => true, "degraded" => true}} = Json.decode(body)

    Health.set(:spine, {:down, "refused"})
    assert {503, _head, body} = get(port, "/health/ready")
    assert body =~ ~S("ready":false)
    assert body =~ ~S({"name":"spine","ok":false,"optional":false,"reason":"refused"})
    Health.set(:spine, :ok)
    Health.set(:valkey, :ok)
  end

  test "metrics have each name with its help, and labels are escaped", %{port: port} do
    Metrics.count(:spine_skipped_total)
    Metrics.count(:orders_total, [kind: "a\"b\\c\nd"], 3)
    Metrics.set(:rooms, 7)
    assert {200, head, body} = get(port, "/metrics")
    assert head =~ "text/plain; version=0.0.4"

    for {name, {kind, _help}} <- Metrics.Names.all(),
        do: assert(body =~ "# TYPE arqon_brain_#{name} #{kind}\n")

    assert body =~ ~S(arqon_brain_orders_total{kind="a\"b\\c\nd"} 3) <> "\n"
    assert body =~ "\narqon_brain_rooms 7\n"
    assert body =~ ~r/arqon_brain_memory_bytes{kind="total"} [0-9]+\n/

    for line <- String.split(body, "\n", trim: true),
        do: assert(line =~ ~r/\A(# |arqon_brain_\w+({.*})? -?[0-9.]+\z)/)
  end

  test "each metric that the code names is declared" do
    declared = Keyword.keys(Metrics.Names.all())

    for file <- Path.wildcard("lib/**/*.ex"),
        [_all, name] <- Regex.scan(~r/Metrics\.(?:count|set|get)\(:(\w+)/, File.read!(file)),
        do:
          assert(
            String.to_atom(name) in declared,
            "#{file}: #{name} is not in ArqonBrain.Metrics.Names"
          )
  end

  test "what is not there or not understood is refused", %{port: port} do
    assert {404, _head, body} = get(port, "/nowhere")
    assert body =~ "/health/live"
    assert ask(port, "POST /metrics HTTP/1.1\r\nHost: x\r\n\r\n") =~ "HTTP/1.1 405"
    assert ask(port, "nonsense\r\n\r\n") =~ "HTTP/1.1 400"
    assert ask(port, "GET http://x/ HTTP/1.1\r\n\r\n") =~ "HTTP/1.1 400"
    assert ask(port, :binary.copy(<<0>>, 3_000) <> "\r\n\r\n") =~ "HTTP/1.1 400"

    head = ask(port, "HEAD /health/live HTTP/1.1\r\n\r\n")
    assert String.ends_with?(head, "\r\n\r\n")
    assert {200, _head, _body} = get(port, "/health/live")
  end

  test "a long line and many headers are refused, whether or not the client still hears it", %{
    port: port
  } do
    for {request, reason} <- [
          {"GET /#{String.duplicate("x", 20_000)} HTTP/1.1\r\n\r\n", :line_too_long},
          {"GET /metrics HTTP/1.1\r\n#{String.duplicate("A: b\r\n", 100)}\r\n", :too_many_headers}
        ] do
      refused = Metrics.get(:http_refused_total, reason: reason)
      refute ask(port, request) =~ "HTTP/1.1 200"

      # The kernel's parser closes the socket of a long line; the client may hear of that before it is counted.
      counted = fn -> Metrics.get(:http_refused_total, reason: reason) == refused + 1 end
      OsProcess.wait_until(counted, "the count of #{reason}")
    end
  end

  test "silent clients are put out at the deadline, and those behind them are served then", %{
    port: port
  } do
    silent = for _n <- 1..40, do: connect(port)
    began = System.monotonic_time(:millisecond)
    assert {200, _head, _body} = get(port, "/health/live")
    assert System.monotonic_time(:millisecond) - began < 30_000
    Enum.each(silent, &:gen_tcp.close/1)

    OsProcess.wait_until(
      fn -> map_size(:sys.get_state(Http.Server).open) == 0 end,
      "the end of all connections"
    )
  end

  test "without file descriptors clients wait, and the Brain goes on", %{port: port} do
    # A process of its own, started while there are some.
    shell = Port.open({:spawn_executable, System.find_executable("bash")}, [:binary])
    [_all, soft] = Regex.run(~r/Max open files\s+(\d+)/, File.read!("/proc/self/limits"))
    limit = &Port.command(shell, "prlimit --pid #{System.pid()} --nofile=#{&1}: && echo set\n")
    server = Process.whereis(Http.Server)
    refused = Metrics.get(:http_refused_total, reason: :accept)

    # Nothing can be loaded in between.
    Code.ensure_loaded!(OsProcess)
    limit.(3)
    assert_receive {^shell, {:data, "set\n"}}
    Port.command(shell, "exec 3<>/dev/tcp/127.0.0.1/#{port}\n")
    Port.command(shell, "printf 'GET /health/live HTTP/1.1\\r\\n\\r\\n' >&3\n")

    try do
      OsProcess.wait_until(
        fn -> Metrics.get(:http_refused_total, reason: :accept) > refused end,
        "the refusal"
      )
    after
      limit.(soft)
      assert_receive {^shell, {:data, "set\n"}}
    end

    Port.command(shell, "head -n 1 <&3\n")
    assert_receive {^shell, {:data, "HTTP/1.1 200 OK" <> _rest}}
    assert Process.whereis(Http.Server) == server
    Port.close(shell)
  end

  test "an address that cannot be had is named" do
    stop_supervised!(Http.Server)
    {:ok, taken} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(taken)
    Process.flag(:trap_exit, true)
    assert {:error, reason} = Http.Server.start_link(listen: {"127.0.0.1", port})
    assert reason == "admin_listen: 127.0.0.1:#{port}: address already in use"
    :gen_tcp.close(taken)
  end
end
