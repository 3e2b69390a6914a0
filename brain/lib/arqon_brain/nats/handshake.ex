defmodule ArqonBrain.Nats.Handshake do
  @moduledoc """
  From an address to a connection that the NATS server has accepted, within one deadline.

  A server that offers less than is configured is refused: no TLS although there should be, or no request for a signature.
  """

  alias ArqonBrain.Json
  alias ArqonBrain.Nats.{Auth, Commands, Parser, Transport}

  @within_ms 3_000

  @type server :: {:tcp | :tls, host :: binary, port :: :inet.port_number()}

  @type accepted :: %{
          transport: Transport.t(),
          parser: Parser.t(),
          early: [Parser.message()],
          payload_max: pos_integer
        }

  @doc "Connects as `name`, within so many milliseconds; `payload_max` bounds what is read."
  @spec open(server, ArqonBrain.Config.spine(), binary, pos_integer, pos_integer) ::
          {:ok, accepted} | {:error, binary}
  def open({scheme, host, port}, spine, name, payload_max, within_ms \\ @within_ms) do
    until = now() + within_ms

    with {:ok, transport} <- Transport.connect(host, port, left(until)) do
      case accept(transport, scheme, host, spine, name, payload_max, until) do
        {:ok, accepted} ->
          {:ok, accepted}

        {:error, reason} ->
          Transport.abort(transport)
          {:error, reason}
      end
    end
  end

  defp accept(transport, scheme, host, spine, name, payload_max, until) do
    with {:ok, [{:info, json} | _more], _parser} <-
           await_some(transport, Parser.new(payload_max), until),
         {:ok, info} <- info(json),
         {:ok, transport} <- secure(transport, scheme, host, spine.tls, info, until),
         {:ok, credentials} <- Auth.credentials(spine.auth, info["nonce"]),
         :ok <-
           Transport.write(transport, [Commands.connect(name, credentials), Commands.ping()]),
         {:ok, early, parser} <- await_pong(transport, Parser.new(payload_max), [], until) do
      payload_max = if is_integer(info["max_payload"]), do: info["max_payload"], else: 1_048_576
      {:ok, %{transport: transport, parser: parser, early: early, payload_max: payload_max}}
    else
      {:ok, _messages, _parser} ->
        {:error, "the server did not begin with INFO: it is no NATS server"}

      {:error, reason} ->
        {:error, reason}
    end
  end

  defp info(json) do
    case Json.decode(json) do
      {:ok, %{} = info} -> {:ok, info}
      _other -> {:error, "the server's INFO cannot be read"}
    end
  end

  defp secure(transport, scheme, host, tls, info, until) do
    offered = info["tls_required"] == true or info["tls_available"] == true

    cond do
      tls != nil and offered ->
        Transport.secure(transport, host, tls, left(until))

      tls != nil ->
        {:error, "spine.tls is set and the server offers no TLS"}

      scheme == :tls or info["tls_required"] == true ->
        {:error, "the server wants TLS; set spine.tls"}

      true ->
        {:ok, transport}
    end
  end

  defp await_pong(transport, parser, early, until) do
    with {:ok, messages, parser} <- await_some(transport, parser, until) do
      messages = early ++ messages

      cond do
        error = List.keyfind(messages, :err, 0) ->
          {:error, "the server refused: #{elem(error, 1)}"}

        :pong in messages ->
          {:ok, List.delete(messages, :pong), parser}

        true ->
          await_pong(transport, parser, messages, until)
      end
    end
  end

  # The server sends some lines at most before it has accepted the connection, so `early` stays short.
  defp await_some(transport, parser, until) do
    with {:ok, bytes} <- Transport.receive_some(transport, left(until)) do
      case Parser.parse(parser, bytes) do
        {:ok, [], parser} ->
          await_some(transport, parser, until)

        {:ok, messages, parser} ->
          {:ok, messages, parser}

        {:error, reason, _messages} ->
          {:error, "the server does not speak NATS: #{inspect(reason)}"}
      end
    end
  end

  defp left(until), do: max(until - now(), 0)

  defp now, do: System.monotonic_time(:millisecond)
end
