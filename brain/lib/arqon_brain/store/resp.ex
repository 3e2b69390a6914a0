defmodule ArqonBrain.Store.Resp do
  @moduledoc """
  As much of the protocol of Valkey (RESP 2) as the store needs, in plain passive calls with deadlines.

  Own code, because the client library that Debian has cannot be had in the official Elixir images. The decoder is pure
  and bounded: a reply that is larger than any the store asks for ends the connection.
  """

  alias ArqonBrain.{Config, Net}

  @connect_ms 1_000
  @reply_ms 2_000
  @line_max 4_096
  @bulk_max 1_048_576
  @elements_max 4_096
  @depth_max 4

  @type reply :: binary | integer | nil | {:error, binary} | [reply]
  @type conn :: :gen_tcp.socket()

  @doc "Connects and authenticates. The file of the password is read each time."
  @spec connect(Config.valkey()) :: {:ok, conn} | {:error, binary}
  def connect(config) do
    {host, port} = config.address
    {address, family} = Net.host(host)

    options = [
      :binary,
      active: false,
      nodelay: true,
      send_timeout: @reply_ms,
      send_timeout_close: true
    ]

    with {:ok, password} <- password(config.password_file),
         {:ok, socket} <-
           tcp(:gen_tcp.connect(address, port, [family | options], @connect_ms)) do
      case authenticate(socket, config.user, password) do
        :ok ->
          {:ok, socket}

        {:error, reason} ->
          close(socket)
          {:error, reason}
      end
    end
  end

  defp password(nil), do: {:ok, nil}

  defp password(file) do
    case File.read(file) do
      {:ok, text} -> {:ok, text |> String.split(["\r\n", "\n"], parts: 2) |> hd()}
      {:error, reason} -> {:error, "#{file}: #{:file.format_error(reason)}"}
    end
  end

  defp authenticate(socket, user, password) do
    command =
      case {user, password} do
        {_user, nil} -> ["PING"]
        {nil, password} -> ["AUTH", password]
        {user, password} -> ["AUTH", user, password]
      end

    case run(socket, [command]) do
      {:ok, [{:error, reason}]} -> {:error, reason}
      {:ok, [_reply]} -> :ok
      {:error, reason} -> {:error, reason}
    end
  end

  @doc "Sends commands in one go and waits for a reply to each. After an error the connection is of no use."
  @spec run(conn, [[iodata]]) :: {:ok, [reply]} | {:error, binary}
  def run(socket, commands) do
    until = System.monotonic_time(:millisecond) + @reply_ms

    with {:ok, _sent} <- tcp(sent(:gen_tcp.send(socket, Enum.map(commands, &encode/1)))),
         do: replies(socket, length(commands), <<>>, [], until)
  end

  @doc "Closes it at once."
  @spec close(conn) :: :ok
  def close(socket) do
    _ = :inet.setopts(socket, linger: {true, 0})
    :gen_tcp.close(socket)
  end

  defp replies(_socket, 0, <<>>, done, _until), do: {:ok, Enum.reverse(done)}
  defp replies(_socket, 0, _more, _done, _until), do: {:error, "more replies than commands"}

  defp replies(socket, left, buffer, done, until) do
    case decode(buffer) do
      {:ok, reply, rest} ->
        replies(socket, left - 1, rest, [reply | done], until)

      # All that is known to be missing at once: each look at a reply begins at its first byte.
      {:more, missing} ->
        wait = max(until - System.monotonic_time(:millisecond), 0)

        with {:ok, bytes} <- tcp(:gen_tcp.recv(socket, missing, wait)),
             do: replies(socket, left, buffer <> bytes, done, until)

      {:error, reason} ->
        {:error, reason}
    end
  end

  defp sent(:ok), do: {:ok, nil}
  defp sent(error), do: error

  defp tcp({:ok, value}), do: {:ok, value}
  defp tcp({:error, reason}), do: {:error, Net.reason(reason)}

  @doc "One command as bytes."
  @spec encode([iodata]) :: iodata
  def encode(words) do
    parts = for word <- words, do: ["$#{:erlang.iolist_size(word)}\r\n", word, "\r\n"]
    ["*#{length(words)}\r\n", parts]
  end

  @doc "The first reply of some bytes, or how many are missing for sure if it is not all there; 0 if that cannot be told."
  @spec decode(binary) ::
          {:ok, reply, rest :: binary} | {:more, non_neg_integer} | {:error, binary}
  def decode(bytes) do
    decode(bytes, 0)
  catch
    {:more, missing} -> {:more, missing}
    {:error, reason} -> {:error, reason}
  end

  defp decode(_bytes, depth) when depth > @depth_max,
    do: throw({:error, "a reply is nested too deeply"})

  defp decode(bytes, depth) do
    case line(bytes) do
      {<<"+", text::binary>>, rest} -> {:ok, text, rest}
      {<<"-", text::binary>>, rest} -> {:ok, {:error, text}, rest}
      {<<":", digits::binary>>, rest} -> {:ok, number(digits), rest}
      {<<"$", digits::binary>>, rest} -> bulk(number(digits), rest)
      {<<"*", digits::binary>>, rest} -> elements(number(digits), rest, depth)
      _other -> throw({:error, "a reply that is not RESP"})
    end
  end

  defp bulk(-1, rest), do: {:ok, nil, rest}

  defp bulk(size, rest) when size in 0..@bulk_max and byte_size(rest) < size + 2,
    do: throw({:more, size + 2 - byte_size(rest)})

  defp bulk(size, rest) when size in 0..@bulk_max do
    case :erlang.split_binary(rest, size) do
      {value, "\r\n" <> rest} -> {:ok, :binary.copy(value), rest}
      _other -> throw({:error, "a reply that is not RESP"})
    end
  end

  defp bulk(size, _rest), do: throw({:error, "a reply of #{size} bytes"})

  defp elements(-1, rest, _depth), do: {:ok, nil, rest}

  defp elements(count, rest, depth) when count in 0..@elements_max do
    {values, rest} =
      Enum.map_reduce(Enum.take(1..count//1, count), rest, fn _nth, rest ->
        {:ok, value, rest} = decode(rest, depth + 1)
        {value, rest}
      end)

    {:ok, values, rest}
  end

  defp elements(count, _rest, _depth), do: throw({:error, "a reply of #{count} elements"})

  defp line(bytes) do
    case :binary.match(bytes, "\r\n", scope: {0, min(byte_size(bytes), @line_max)}) do
      {at, 2} ->
        {line, "\r\n" <> rest} = :erlang.split_binary(bytes, at)
        {line, rest}

      :nomatch when byte_size(bytes) < @line_max ->
        throw({:more, 0})

      :nomatch ->
        throw({:error, "a reply with a line that does not end"})
    end
  end

  defp number(digits) when byte_size(digits) <= 20 do
    case Integer.parse(digits) do
      {value, ""} -> value
      _other -> throw({:error, "a reply that is not RESP"})
    end
  end

  defp number(_digits), do: throw({:error, "a reply that is not RESP"})
end
