defmodule ArqonBrain.ValkeyServer do
  @moduledoc "A real Valkey for tests, or a Redis that speaks the same."

  alias ArqonBrain.OsProcess
  alias ArqonBrain.Store.Resp

  defstruct [:process, :port]

  def start(folder, port \\ OsProcess.free_port(), arguments \\ []) do
    address = ["--bind", "127.0.0.1", "--port", "#{port}", "--dir", folder]
    keep = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
    process = OsProcess.start(program(), address ++ keep ++ arguments, folder)
    OsProcess.await_port(port, folder)
    %__MODULE__{process: process, port: port}
  end

  defp program do
    case System.find_executable("valkey-server") do
      nil -> OsProcess.find("redis-server")
      found -> found
    end
  end

  def stop(server), do: OsProcess.stop(server.process)

  @doc "What `ArqonBrain.Config` has under `valkey`."
  def config(server, overrides \\ []) do
    Map.merge(
      %{address: {"127.0.0.1", server.port}, user: nil, password_file: nil, prefix: "arqon"},
      Map.new(overrides)
    )
  end

  @doc "Runs one command and gives its reply."
  def run(server, command) do
    {:ok, conn} = Resp.connect(config(server))
    {:ok, [reply]} = Resp.run(conn, [command])
    Resp.close(conn)
    reply
  end
end
