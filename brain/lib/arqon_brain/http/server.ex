defmodule ArqonBrain.Http.Server do
  @moduledoc """
  The admin port: health and metrics, for machines on the inside. It has no authentication.

  One request a connection, a few connections at a time, each with a deadline and a bound on what is read.
  """

  use GenServer

  alias ArqonBrain.Http.Routes
  alias ArqonBrain.{Metrics, Net}

  @connections_max 32
  @deadline_ms 5_000
  @line_max 4_096
  @headers_max 64
  @accept_again_ms 100

  @doc "Starts it at `listen`; port 0 means any."
  @spec start_link(listen: ArqonBrain.Config.address()) :: GenServer.on_start()
  def start_link(options), do: GenServer.start_link(__MODULE__, options, name: __MODULE__)

  @doc "The port that it listens at."
  @spec port() :: :inet.port_number()
  def port, do: GenServer.call(__MODULE__, :port)

  @impl true
  def init(listen: {host, port}) do
    Process.flag(:trap_exit, true)

    {address, family} = Net.host(host)

    with {:ok, address} <- :inet.getaddr(address, family),
         {:ok, socket} <- listen(address, family, port) do
      server = self()
      acceptor = spawn_link(fn -> accept(socket, server) end)
      {:ok, %{socket: socket, acceptor: acceptor, open: %{}}}
    else
      {:error, reason} -> {:stop, "admin_listen: #{host}:#{port}: #{Net.reason(reason)}"}
    end
  end

  defp listen(address, family, port) do
    options = [
      family,
      :binary,
      ip: address,
      active: false,
      reuseaddr: true,
      backlog: 64,
      packet: :http_bin
    ]

    :gen_tcp.listen(port, options ++ [packet_size: @line_max, send_timeout: @deadline_ms])
  end

  # Waits for its turn, so that what is above the bound waits in the kernel's backlog.
  defp accept(listener, server) do
    :ok = GenServer.call(server, :place, :infinity)

    case :gen_tcp.accept(listener) do
      {:ok, socket} ->
        pid = spawn(fn -> serve() end)
        _result = :gen_tcp.controlling_process(socket, pid)
        GenServer.cast(server, {:serving, pid})
        send(pid, {:socket, socket})
        accept(listener, server)

      {:error, reason} when reason in [:closed, :einval] ->
        exit({:accept, reason})

      # A client that is gone already, or no file descriptor is left: the Brain has other things to do than to end for that.
      {:error, _reason} ->
        Metrics.count(:http_refused_total, reason: :accept)
        receive do: (:never -> :ok), after: (@accept_again_ms -> accept(listener, server))
    end
  end

  @impl true
  def handle_call(:port, _from, state) do
    {:ok, port} = :inet.port(state.socket)
    {:reply, port, state}
  end

  def handle_call(:place, from, state) do
    if map_size(state.open) < @connections_max,
      do: {:reply, :ok, state},
      else: {:noreply, Map.put(state, :waiting, from)}
  end

  @impl true
  def handle_cast({:serving, pid}, state) do
    monitor = Process.monitor(pid)
    timer = Process.send_after(self(), {:deadline, pid}, 2 * @deadline_ms)
    {:noreply, put_in(state.open[monitor], timer)}
  end

  @impl true
  def handle_info({:DOWN, monitor, :process, _pid, _reason}, state) do
    {timer, open} = Map.pop(state.open, monitor)
    _left = if timer, do: Process.cancel_timer(timer)
    {waiting, state} = Map.pop(%{state | open: open}, :waiting)
    if waiting, do: GenServer.reply(waiting, :ok)
    {:noreply, state}
  end

  def handle_info({:deadline, pid}, state) do
    Metrics.count(:http_refused_total, reason: :deadline)
    Process.exit(pid, :kill)
    {:noreply, state}
  end

  def handle_info({:EXIT, pid, reason}, %{acceptor: pid} = state), do: {:stop, reason, state}
  def handle_info(_message, state), do: {:noreply, state}

  defp serve do
    receive do
      {:socket, socket} ->
        until = System.monotonic_time(:millisecond) + @deadline_ms

        with {:ok, method, path} <- request(socket, until),
             :ok <- headers(socket, until, @headers_max) do
          # Who has gone meanwhile does not want it any more.
          _result = :gen_tcp.send(socket, response(Routes.answer(method, path), method))
        else
          {:error, status, reason} ->
            Metrics.count(:http_refused_total, reason: reason)
            _result = :gen_tcp.send(socket, response({status, "text/plain", "#{reason}\n"}, :GET))
        end

        :gen_tcp.close(socket)
    after
      @deadline_ms -> :ok
    end
  end

  defp request(socket, until) do
    case read(socket, until) do
      {:ok, {:http_request, method, {:abs_path, path}, _version}} -> {:ok, method, path}
      {:ok, _other} -> {:error, 400, :bad_request}
      {:error, reason} -> {:error, 400, reason}
    end
  end

  defp headers(_socket, _until, 0), do: {:error, 431, :too_many_headers}

  defp headers(socket, until, left) do
    case read(socket, until) do
      {:ok, :http_eoh} -> :ok
      {:ok, {:http_header, _bit, _name, _reserved, _value}} -> headers(socket, until, left - 1)
      {:ok, _other} -> {:error, 400, :bad_request}
      {:error, reason} -> {:error, 400, reason}
    end
  end

  defp read(socket, until) do
    case :gen_tcp.recv(socket, 0, max(until - System.monotonic_time(:millisecond), 0)) do
      {:ok, {:http_error, _line}} -> {:error, :bad_request}
      {:ok, part} -> {:ok, part}
      {:error, :timeout} -> {:error, :deadline}
      {:error, :emsgsize} -> {:error, :line_too_long}
      {:error, _reason} -> {:error, :closed}
    end
  end

  @reasons %{
    200 => "OK",
    404 => "Not Found",
    405 => "Method Not Allowed",
    503 => "Service Unavailable"
  }

  defp response({status, type, body}, method) do
    [
      "HTTP/1.1 #{status} #{Map.get(@reasons, status, "Bad Request")}\r\n",
      "content-type: #{type}\r\n",
      "content-length: #{:erlang.iolist_size(body)}\r\n",
      "connection: close\r\n\r\n",
      if(method == :HEAD, do: "", else: body)
    ]
  end
end
