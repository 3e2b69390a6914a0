defmodule ArqonBrain.OsProcess do
  @moduledoc "A server program for tests. It ends with the test, also if the test's virtual machine is killed."

  # Ends the program when the port, and with it this virtual machine, is gone.
  @guard ~S"""
  exec 2>>"$0" 3<&0
  "$@" <&- >&2 & pid=$!
  echo "pid $pid"
  cat <&3 >/dev/null
  kill -9 $pid
  """

  defstruct [:port, :pid]

  @doc "Starts a program; its output goes to the folder's file `log`."
  def start(program, arguments, folder) do
    log = Path.join(folder, "log")

    port =
      Port.open({:spawn_executable, "/bin/sh"}, [
        :binary,
        line: 256,
        args: ["-c", @guard, log, program | arguments]
      ])

    receive do
      {^port, {:data, {:eol, "pid " <> pid}}} -> %__MODULE__{port: port, pid: pid}
    after
      30_000 -> raise "#{program} did not start"
    end
  end

  @doc "Kills it and waits until it is gone."
  def stop(%__MODULE__{pid: pid}) do
    signal(pid, "KILL")
    # A stopped process dies of a KILL, too; its guard takes it out of the table.
    wait_until(
      fn -> not File.exists?("/proc/#{pid}") or zombie?(pid) end,
      "the end of process #{pid}"
    )
  end

  @doc "Sends a signal, such as `STOP` or `CONT`."
  def signal(%__MODULE__{pid: pid}, signal), do: signal(pid, signal)
  def signal(pid, signal), do: System.cmd("kill", ["-#{signal}", pid], stderr_to_stdout: true)

  defp zombie?(pid) do
    case File.read("/proc/#{pid}/stat") do
      {:ok, stat} -> stat =~ ") Z "
      {:error, _reason} -> true
    end
  end

  @doc "A program, or an error that tells how to get it."
  def find(name) do
    venv = Path.expand("../target/venv/bin/#{name}", File.cwd!())

    cond do
      File.exists?(venv) -> venv
      found = System.find_executable(name) -> found
      true -> raise "#{name} is not installed; `cargo xtask test` installs what the tests need"
    end
  end

  @doc """
  A port of the loopback address that is free now, also for a server that is started anew there.

  It is none that the system gives to outgoing connections: one of those could take it at any time.
  """
  def free_port do
    port = Enum.random(10_000..30_000)

    case :gen_tcp.listen(port, ip: {127, 0, 0, 1}) do
      {:ok, socket} ->
        :gen_tcp.close(socket)
        port

      {:error, _taken} ->
        free_port()
    end
  end

  @doc "Waits until somebody listens, whose log is in `folder`."
  def await_port(port, folder) do
    wait_until(
      fn ->
        with {:ok, socket} <- :gen_tcp.connect({127, 0, 0, 1}, port, [], 1_000),
             do: :gen_tcp.close(socket) == :ok,
             else: (_error -> false)
      end,
      "a listener on port #{port}; its log is #{folder}/log"
    )
  end

  @doc "Looks every 10 ms until the condition holds, at most thirty seconds."
  def wait_until(condition, what, left \\ 3_000) do
    cond do
      condition.() ->
        :ok

      left == 0 ->
        raise "waited in vain for #{what}"

      true ->
        receive do
        after
          10 -> wait_until(condition, what, left - 1)
        end
    end
  end
end
