defmodule ArqonBrain.Nats.Commands do
  @moduledoc "What a client says to a NATS server, as bytes. Pure."

  alias ArqonBrain.Json

  @doc "The first command of a connection; `credentials` are added to what every connection says."
  @spec connect(binary, keyword) :: iodata
  def connect(name, credentials) do
    said = [
      verbose: false,
      pedantic: false,
      name: name,
      lang: "elixir",
      version: "0",
      protocol: 1,
      echo: true,
      headers: true,
      no_responders: false
    ]

    ["CONNECT ", Json.encode(said ++ credentials), "\r\n"]
  end

  @doc "Publishes `size` bytes. The subject has to be one that `subject?/1` takes."
  @spec pub(binary, iodata, non_neg_integer) :: iodata
  def pub(subject, payload, size),
    do: ["PUB ", subject, " ", Integer.to_string(size), "\r\n", payload, "\r\n"]

  @doc "Subscribes; what arrives carries the `sid`."
  @spec sub(binary, pos_integer) :: iodata
  def sub(subject, sid), do: ["SUB ", subject, " ", Integer.to_string(sid), "\r\n"]

  @doc "Ends a subscription."
  @spec unsub(pos_integer) :: iodata
  def unsub(sid), do: ["UNSUB ", Integer.to_string(sid), "\r\n"]

  @doc "Asks for a `PONG`, which comes after the effects of everything that was sent before."
  @spec ping() :: iodata
  def ping, do: "PING\r\n"

  @doc "The answer to a `PING`."
  @spec pong() :: iodata
  def pong, do: "PONG\r\n"

  @doc "Whether a text can stand in a command as a subject without becoming another command."
  @spec subject?(binary) :: boolean
  def subject?(subject) when byte_size(subject) in 1..1024, do: plain?(subject)
  def subject?(_subject), do: false

  defp plain?(<<c, rest::binary>>) when c > 0x20 and c != 0x7F, do: plain?(rest)
  defp plain?(rest), do: rest == ""
end
