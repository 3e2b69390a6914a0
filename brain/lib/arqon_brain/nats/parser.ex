defmodule ArqonBrain.Nats.Parser do
  @moduledoc """
  Reads what a NATS server sends. Pure: bytes in, messages out, in any cut of the stream.

  A line has at most 64 KiB. A payload above the limit is passed over without being held and reported as `:skipped`, so
  that no peer can make the Brain hold more than that. Nothing raises; the first thing that is not the protocol ends the
  stream with an error.
  """

  @line_max 65_536
  @size_digits_max 10

  @enforce_keys [:payload_max]
  defstruct payload_max: 0, buffer: <<>>, mode: :line, scanned: 0

  @type header :: {subject :: binary, sid :: binary, reply :: binary | nil}
  @type message ::
          {:info, json :: binary}
          | {:msg, subject :: binary, sid :: binary, reply :: binary | nil, payload :: binary}
          | {:skipped, subject :: binary, bytes :: non_neg_integer}
          | :ping
          | :pong
          | :ok
          | {:err, binary}

  @type reason :: :line_too_long | {:not_nats, binary}

  @opaque t :: %__MODULE__{
            payload_max: non_neg_integer,
            buffer: binary,
            mode:
              :line
              | {:payload, header, non_neg_integer, non_neg_integer}
              | {:skip, non_neg_integer},
            scanned: non_neg_integer
          }

  @doc "A parser at the begin of a stream. `payload_max` is in bytes, headers included."
  @spec new(non_neg_integer) :: t
  def new(payload_max), do: %__MODULE__{payload_max: payload_max}

  @doc "Takes bytes and gives the messages that end in them. After an error the stream is of no use."
  @spec parse(t, binary) :: {:ok, [message], t} | {:error, reason, [message]}
  def parse(%__MODULE__{} = parser, bytes),
    do: run(%{parser | buffer: parser.buffer <> bytes}, [])

  defp run(%{mode: :line} = parser, done) do
    size = byte_size(parser.buffer)

    case :binary.match(parser.buffer, "\r\n", scope: {parser.scanned, size - parser.scanned}) do
      {at, 2} when at <= @line_max ->
        {line, "\r\n" <> rest} = :erlang.split_binary(parser.buffer, at)
        line(line, %{parser | buffer: rest, scanned: 0}, done)

      :nomatch when size <= @line_max ->
        # The last byte may be half of the end of the line.
        {:ok, Enum.reverse(done), %{parser | scanned: max(size - 1, 0)}}

      _too_long ->
        {:error, :line_too_long, Enum.reverse(done)}
    end
  end

  defp run(%{mode: {:payload, header, head, size}} = parser, done)
       when byte_size(parser.buffer) >= head + size + 2 do
    case :erlang.split_binary(parser.buffer, head + size) do
      {whole, "\r\n" <> rest} ->
        {subject, sid, reply} = header
        # Copies, so that a short text that somebody keeps does not keep the whole buffer.
        payload = :binary.copy(binary_part(whole, head, size))
        message = {:msg, :binary.copy(subject), sid, reply && :binary.copy(reply), payload}
        run(%{parser | buffer: rest, mode: :line}, [message | done])

      _other ->
        {:error, {:not_nats, "a payload that does not end where it should"}, Enum.reverse(done)}
    end
  end

  defp run(%{mode: {:payload, _header, _head, _size}} = parser, done),
    do: {:ok, Enum.reverse(done), parser}

  defp run(%{mode: {:skip, left}} = parser, done) do
    case byte_size(parser.buffer) do
      here when here >= left ->
        {_skipped, rest} = :erlang.split_binary(parser.buffer, left)
        run(%{parser | buffer: rest, mode: :line}, done)

      here ->
        {:ok, Enum.reverse(done), %{parser | buffer: <<>>, mode: {:skip, left - here}}}
    end
  end

  defp line(line, parser, done) do
    {operation, rest} = split(line)

    case {upper(operation), rest} do
      {"MSG", arguments} -> message(words(arguments), parser, done)
      {"HMSG", arguments} -> message_with_headers(words(arguments), parser, done)
      {"PING", _rest} -> run(parser, [:ping | done])
      {"PONG", _rest} -> run(parser, [:pong | done])
      {"+OK", _rest} -> run(parser, [:ok | done])
      {"-ERR", text} -> run(parser, [{:err, String.trim(text, "'")} | done])
      {"INFO", json} -> run(parser, [{:info, json} | done])
      _other -> not_nats(line, done)
    end
  end

  defp message([subject, sid, size], parser, done),
    do: payload({subject, sid, nil}, "0", size, parser, done)

  defp message([subject, sid, reply, size], parser, done),
    do: payload({subject, sid, reply}, "0", size, parser, done)

  defp message(arguments, _parser, done), do: not_nats("MSG " <> Enum.join(arguments, " "), done)

  defp message_with_headers([subject, sid, head, size], parser, done),
    do: payload({subject, sid, nil}, head, size, parser, done)

  defp message_with_headers([subject, sid, reply, head, size], parser, done),
    do: payload({subject, sid, reply}, head, size, parser, done)

  defp message_with_headers(arguments, _parser, done),
    do: not_nats("HMSG " <> Enum.join(arguments, " "), done)

  defp payload({subject, _sid, _reply} = header, head, size, parser, done) do
    with {:ok, head} <- size(head), {:ok, size} when size >= head <- size(size) do
      if size > parser.payload_max do
        run(%{parser | mode: {:skip, size + 2}}, [{:skipped, subject, size} | done])
      else
        run(%{parser | mode: {:payload, header, head, size - head}}, done)
      end
    else
      _other -> not_nats("a size of #{head} #{size}", done)
    end
  end

  defp size(digits) when byte_size(digits) in 1..@size_digits_max, do: digits(digits, 0)
  defp size(_digits), do: :error

  defp digits(<<c, rest::binary>>, value) when c in ?0..?9, do: digits(rest, value * 10 + c - ?0)
  defp digits(rest, value), do: if(rest == "", do: {:ok, value}, else: :error)

  defp words(text), do: :binary.split(text, [" ", "\t"], [:global, :trim_all])

  defp split(line) do
    case :binary.split(line, [" ", "\t"]) do
      [operation, rest] -> {operation, rest}
      [operation] -> {operation, ""}
    end
  end

  # Operations are ASCII; anything longer than one is none.
  defp upper(operation) when byte_size(operation) <= 4,
    do: for(<<c <- operation>>, into: <<>>, do: <<if(c in ?a..?z, do: c - 32, else: c)>>)

  defp upper(_operation), do: ""

  defp not_nats(what, done),
    do: {:error, {:not_nats, binary_part(what, 0, min(byte_size(what), 64))}, Enum.reverse(done)}
end
