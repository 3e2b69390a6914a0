defmodule ArqonBrain.Nats.Transport do
  @moduledoc """
  A socket, with TLS or without, behind the few operations that a connection needs.

  Every operation has a deadline. The socket starts passive; `arm/1` asks for a bounded number of reads as messages.
  """

  alias ArqonBrain.Net

  # Reads that may wait in the mailbox: with 64 KiB each this bounds what a flood can make the Brain hold.
  @reads_ahead 32
  @send_timeout_ms 5_000

  @type t :: {:gen_tcp, :gen_tcp.socket()} | {:ssl, :ssl.sslsocket()}

  @doc "Opens a TCP connection."
  @spec connect(binary, :inet.port_number(), timeout) :: {:ok, t} | {:error, binary}
  def connect(host, port, timeout_ms) do
    {address, family} = Net.host(host)

    case :gen_tcp.connect(address, port, [family | options()], timeout_ms) do
      {:ok, socket} -> {:ok, {:gen_tcp, socket}}
      {:error, reason} -> {:error, text(reason)}
    end
  end

  defp options do
    [
      :binary,
      active: false,
      nodelay: true,
      buffer: 65_536,
      send_timeout: @send_timeout_ms,
      send_timeout_close: true
    ]
  end

  @doc "Puts TLS on it. The server's certificate has to be from a known authority and to name the host."
  @spec secure(t, binary, ArqonBrain.Config.tls(), timeout) :: {:ok, t} | {:error, binary}
  def secure({:gen_tcp, socket}, host, tls, timeout_ms) do
    options =
      [verify: :verify_peer, depth: 5, versions: [:"tlsv1.2", :"tlsv1.3"]] ++
        authorities(tls.ca_file) ++ own(tls) ++ check_host(host)

    case :ssl.connect(socket, options, timeout_ms) do
      {:ok, socket} -> {:ok, {:ssl, socket}}
      {:error, reason} -> {:error, "TLS with #{host}: #{text(reason)}"}
    end
  end

  # Without a file: those that the system trusts.
  defp authorities(nil), do: [cacerts: :public_key.cacerts_get()]
  defp authorities(file), do: [cacertfile: String.to_charlist(file)]

  defp own(tls) do
    for {key, file} <- [certfile: tls.cert_file, keyfile: tls.key_file],
        file != nil,
        do: {key, String.to_charlist(file)}
  end

  # For an address the library compares with the other end of the socket by itself.
  defp check_host(host) do
    case Net.host(host) do
      {name, _family} when is_list(name) ->
        match = :public_key.pkix_verify_hostname_match_fun(:https)
        [server_name_indication: name, customize_hostname_check: [match_fun: match]]

      {_address, _family} ->
        []
    end
  end

  @doc "Waits for some bytes of a passive socket."
  @spec receive_some(t, timeout) :: {:ok, binary} | {:error, binary}
  def receive_some({module, socket}, timeout_ms) do
    case module.recv(socket, 0, timeout_ms) do
      {:ok, bytes} -> {:ok, bytes}
      {:error, reason} -> {:error, text(reason)}
    end
  end

  @doc "Sends; waits for at most #{@send_timeout_ms} ms while the other end takes nothing."
  @spec write(t, iodata) :: :ok | {:error, binary}
  def write({module, socket}, bytes) do
    case module.send(socket, bytes) do
      :ok -> :ok
      {:error, reason} -> {:error, text(reason)}
    end
  end

  @doc "Asks for the next reads as messages; `event/2` tells what they mean."
  @spec arm(t) :: :ok | {:error, binary}
  def arm({module, socket}) do
    setopts = if module == :ssl, do: &:ssl.setopts/2, else: &:inet.setopts/2

    case setopts.(socket, active: @reads_ahead) do
      :ok -> :ok
      {:error, reason} -> {:error, text(reason)}
    end
  end

  @doc "What a message to the owner says about this socket."
  @spec event(t, term) :: {:data, binary} | :passive | {:closed, binary} | :other
  def event({_module, socket}, {kind, socket, bytes}) when kind in [:tcp, :ssl],
    do: {:data, bytes}

  def event({_module, socket}, {kind, socket}) when kind in [:tcp_passive, :ssl_passive],
    do: :passive

  def event({_module, socket}, {kind, socket}) when kind in [:tcp_closed, :ssl_closed],
    do: {:closed, "the server closed the connection"}

  def event({_module, socket}, {kind, socket, reason}) when kind in [:tcp_error, :ssl_error],
    do: {:closed, text(reason)}

  def event(_transport, _message), do: :other

  @doc "Closes at once, whatever is still unsent."
  @spec abort(t) :: :ok
  def abort({:gen_tcp, socket}) do
    # Otherwise closing waits for minutes until a stalled server has taken what is left.
    _ = :inet.setopts(socket, linger: {true, 0})
    :gen_tcp.close(socket)
  end

  def abort({:ssl, socket}) do
    # The library says goodbye first and may wait for that; its sends end by their timeout.
    _pid = spawn(fn -> :ssl.close(socket) end)
    :ok
  end

  defp text({:tls_alert, {_kind, message}}), do: to_string(message)
  defp text({:options, options}), do: "the files of spine.tls: #{inspect(options)}"

  defp text(reason), do: Net.reason(reason)
end
