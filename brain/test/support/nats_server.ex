defmodule ArqonBrain.NatsServer do
  @moduledoc "A real nats-server for tests."

  alias ArqonBrain.OsProcess

  defstruct [:process, :port, :folder]

  @doc "Starts one; `config` is text of its configuration besides the address."
  def start(folder, config \\ "", port \\ OsProcess.free_port()) do
    file = Path.join(folder, "nats-#{port}.conf")
    File.write!(file, "listen: \"127.0.0.1:#{port}\"\n" <> config)
    process = OsProcess.start(OsProcess.find("nats-server"), ["-c", file], folder)
    OsProcess.await_port(port, folder)
    %__MODULE__{process: process, port: port, folder: folder}
  end

  def stop(server), do: OsProcess.stop(server.process)

  @doc "What `ArqonBrain.Config` has under `spine`."
  def spine(servers, overrides \\ []) do
    servers = for server <- List.wrap(servers), do: {:tcp, "127.0.0.1", server.port}

    Map.merge(
      %{
        servers: servers,
        auth: :none,
        tls: nil,
        queue_bytes_max: 8_388_608,
        queue_messages_max: 65_536
      },
      Map.new(overrides)
    )
  end
end

defmodule ArqonBrain.RawNats do
  @moduledoc "A second, passive client for tests: it says what the test writes and waits for what it names."

  alias ArqonBrain.Nats.Parser

  defstruct [:socket, :parser, :inbox]

  def connect(port, options \\ "{\"verbose\":false}") do
    {:ok, socket} =
      :gen_tcp.connect({127, 0, 0, 1}, port, [:binary, active: false, nodelay: true])

    client = %__MODULE__{socket: socket, parser: Parser.new(10_000_000), inbox: []}
    :ok = :gen_tcp.send(socket, "CONNECT #{options}\r\n")
    sync(client)
  end

  @doc "Everything sent before has been taken by the server."
  def sync(client) do
    :ok = :gen_tcp.send(client.socket, "PING\r\n")
    client |> await(&(&1 == :pong)) |> elem(1)
  end

  def subscribe(client, subject, sid) do
    :ok = :gen_tcp.send(client.socket, "SUB #{subject} #{sid}\r\n")
    sync(client)
  end

  def publish(client, subject, payload) do
    :ok =
      :gen_tcp.send(client.socket, ["PUB #{subject} #{byte_size(payload)}\r\n", payload, "\r\n"])

    client
  end

  @doc "The next message that fits; what does not is thrown away."
  def await(client, fits?) do
    case Enum.split_while(client.inbox, &(not fits?.(&1))) do
      {_others, [message | rest]} ->
        {message, %{client | inbox: rest}}

      {_others, []} ->
        {:ok, bytes} = :gen_tcp.recv(client.socket, 0, 30_000)
        {:ok, messages, parser} = Parser.parse(client.parser, bytes)
        await(%{client | parser: parser, inbox: messages}, fits?)
    end
  end
end
