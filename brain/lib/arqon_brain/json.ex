defmodule ArqonBrain.Json do
  @moduledoc """
  The little JSON that the Brain needs: what a server says about itself, and what the admin port answers.

  Own code, because the oldest OTP that the Brain runs on has none and the official images bring no library.
  """

  @depth_max 32

  @type value :: nil | boolean | number | binary | [value] | %{binary => value}

  @doc "Writes a value. Maps have their keys in the order of `Map.to_list/1`; use a keyword list to choose one."
  @spec encode(term) :: iodata
  def encode(nil), do: "null"
  def encode(true), do: "true"
  def encode(false), do: "false"
  def encode(value) when is_integer(value), do: Integer.to_string(value)
  def encode(value) when is_float(value), do: Float.to_string(value)
  def encode(value) when is_atom(value), do: string(Atom.to_string(value))
  def encode(value) when is_binary(value), do: string(value)
  def encode(value) when is_map(value), do: value |> Map.to_list() |> object()

  def encode([{key, _value} | _rest] = pairs) when is_atom(key) or is_binary(key),
    do: object(pairs)

  def encode(values) when is_list(values),
    do: [?[, Enum.map_intersperse(values, ?,, &encode/1), ?]]

  defp object(pairs) do
    pair = fn {key, value} -> [encode(to_string(key)), ?:, encode(value)] end
    [?{, Enum.map_intersperse(pairs, ?,, pair), ?}]
  end

  defp string(text), do: [?", escape(text, <<>>), ?"]

  defp escape(<<>>, done), do: done
  defp escape(<<?", rest::binary>>, done), do: escape(rest, <<done::binary, ?\\, ?">>)
  defp escape(<<?\\, rest::binary>>, done), do: escape(rest, <<done::binary, ?\\, ?\\>>)

  defp escape(<<c, rest::binary>>, done) when c < 0x20 do
    hex = c |> Integer.to_string(16) |> String.pad_leading(4, "0")
    escape(rest, <<done::binary, ?\\, ?u, hex::binary>>)
  end

  defp escape(<<c::utf8, rest::binary>>, done), do: escape(rest, <<done::binary, c::utf8>>)
  # What is not UTF-8 would make the whole text unreadable.
  defp escape(<<_byte, rest::binary>>, done), do: escape(rest, <<done::binary, 0xFFFD::utf8>>)

  @doc "Reads one value, at most #{@depth_max} levels deep; `:error` for anything else."
  @spec decode(binary) :: {:ok, value} | :error
  def decode(text) when is_binary(text) do
    {value, rest} = value(skip(text), 0)
    if skip(rest) == "", do: {:ok, value}, else: :error
  catch
    :bad_json -> :error
  end

  defp value(_text, depth) when depth > @depth_max, do: throw(:bad_json)
  defp value(<<"null", rest::binary>>, _depth), do: {nil, rest}
  defp value(<<"true", rest::binary>>, _depth), do: {true, rest}
  defp value(<<"false", rest::binary>>, _depth), do: {false, rest}
  defp value(<<?", rest::binary>>, _depth), do: text(rest, <<>>)

  defp value(<<?[, rest::binary>>, depth) do
    case skip(rest) do
      <<?], rest::binary>> -> {[], rest}
      rest -> elements(rest, depth + 1, [])
    end
  end

  defp value(<<?{, rest::binary>>, depth) do
    case skip(rest) do
      <<?}, rest::binary>> -> {%{}, rest}
      rest -> members(rest, depth + 1, %{})
    end
  end

  defp value(text, _depth), do: number(text)

  defp elements(text, depth, done) do
    {value, rest} = value(skip(text), depth)

    case skip(rest) do
      <<?,, rest::binary>> -> elements(rest, depth, [value | done])
      <<?], rest::binary>> -> {Enum.reverse([value | done]), rest}
      _other -> throw(:bad_json)
    end
  end

  defp members(text, depth, done) do
    with <<?", rest::binary>> <- skip(text),
         {key, rest} = text(rest, <<>>),
         <<?:, rest::binary>> <- skip(rest),
         {value, rest} = value(skip(rest), depth) do
      done = Map.put(done, key, value)

      case skip(rest) do
        <<?,, rest::binary>> -> members(rest, depth, done)
        <<?}, rest::binary>> -> {done, rest}
        _other -> throw(:bad_json)
      end
    else
      _other -> throw(:bad_json)
    end
  end

  @escapes %{
    ?" => ?",
    ?\\ => ?\\,
    ?/ => ?/,
    ?b => ?\b,
    ?f => ?\f,
    ?n => ?\n,
    ?r => ?\r,
    ?t => ?\t
  }

  defp text(<<?", rest::binary>>, done), do: {done, rest}

  defp text(<<?\\, ?u, hex::binary-size(4), rest::binary>>, done) do
    case hex(hex) do
      high when high in 0xD800..0xDBFF -> low_half(rest, high, done)
      low when low in 0xDC00..0xDFFF -> throw(:bad_json)
      c -> text(rest, <<done::binary, c::utf8>>)
    end
  end

  defp text(<<?\\, c, rest::binary>>, done) do
    case @escapes do
      %{^c => plain} -> text(rest, <<done::binary, plain>>)
      _other -> throw(:bad_json)
    end
  end

  defp text(<<c::utf8, rest::binary>>, done) when c >= 0x20,
    do: text(rest, <<done::binary, c::utf8>>)

  defp text(_text, _done), do: throw(:bad_json)

  defp low_half(<<?\\, ?u, hex::binary-size(4), rest::binary>>, high, done) do
    case hex(hex) do
      low when low in 0xDC00..0xDFFF ->
        c = 0x10000 + (high - 0xD800) * 0x400 + (low - 0xDC00)
        text(rest, <<done::binary, c::utf8>>)

      _other ->
        throw(:bad_json)
    end
  end

  defp low_half(_text, _high, _done), do: throw(:bad_json)

  defp hex(digits) do
    case Base.decode16(digits, case: :mixed) do
      {:ok, <<value::16>>} -> value
      :error -> throw(:bad_json)
    end
  end

  # A longer number is nothing that anybody here means, and reading one costs the square of its length.
  defp number(text) do
    number = ~r/\A-?(?:0|[1-9][0-9]{0,19})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?/

    case Regex.run(number, text, return: :index) do
      [{0, length}] ->
        {String.to_integer(binary_part(text, 0, length)), rest(text, length)}

      [{0, length} | _parts] ->
        {float(binary_part(text, 0, length)), rest(text, length)}

      nil ->
        throw(:bad_json)
    end
  end

  defp float(text) do
    case Float.parse(
           if String.contains?(text, "."), do: text, else: String.replace(text, ~r/[eE]/, ".0e")
         ) do
      {value, ""} -> value
      _other -> throw(:bad_json)
    end
  rescue
    # A float that is too large to be one.
    ArgumentError -> throw(:bad_json)
  end

  defp rest(text, from), do: binary_part(text, from, byte_size(text) - from)

  defp skip(<<c, rest::binary>>) when c in [?\s, ?\t, ?\n, ?\r], do: skip(rest)
  defp skip(rest), do: rest
end
