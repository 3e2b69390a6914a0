defmodule ArqonBrain.Wire.Protobuf do
  @moduledoc """
  Protobuf by the table of `ArqonBrain.Wire.Schema`. Messages are maps with a key for each field.

  Decoding never raises and never goes deeper than the table. What it returns does not hold on to the bytes. Unknown fields are skipped, groups of old times as well.
  """

  import Bitwise

  alias ArqonBrain.Wire.Schema

  # Groups within groups that are skipped.
  @depth_max 100

  @doc "Reads one message."
  @spec decode(atom, binary) :: {:ok, map} | :error
  def decode(name, bytes) do
    {:ok, message(name, bytes, Schema.defaults(name))}
  catch
    :malformed -> :error
  end

  @doc "Writes one message. Fields that are absent, zero, empty or false are left out."
  @spec encode(atom, map) :: iodata
  def encode(name, message) do
    for {number, key, type} <- Schema.fields(name),
        do: encode_field(number, type, get(message, key))
  end

  defp get(message, {group, member}) do
    case message do
      %{^group => {^member, value}} -> value
      _ -> nil
    end
  end

  defp get(message, key), do: Map.get(message, key)

  defp encode_field(_number, _type, nil), do: []
  defp encode_field(_number, _type, 0), do: []
  defp encode_field(_number, _type, ""), do: []
  defp encode_field(_number, _type, []), do: []
  defp encode_field(_number, :bool, false), do: []
  defp encode_field(number, :bool, true), do: [varint(number <<< 3), 1]
  defp encode_field(number, :uint64, value), do: [varint(number <<< 3), varint(value)]

  defp encode_field(number, :fixed64, value),
    do: [varint(number <<< 3 ||| 1), <<value::64-little>>]

  defp encode_field(number, {:repeated, {:message, name}}, values) do
    for value <- values, do: encode_field(number, {:message, name}, value)
  end

  # An empty string within a list is an element, and must be written.
  defp encode_field(number, {:repeated, _type}, values),
    do: for(value <- values, do: delimited(number, value))

  defp encode_field(number, {:message, name}, value), do: delimited(number, encode(name, value))
  defp encode_field(number, _string_or_bytes, value), do: delimited(number, value)

  defp delimited(number, content),
    do: [varint(number <<< 3 ||| 2), varint(IO.iodata_length(content)), content]

  defp varint(n) when n < 0x80, do: n
  defp varint(n), do: [(n &&& 0x7F) ||| 0x80, varint(n >>> 7)]

  # Lists are collected backwards and turned when the message is complete.
  defp message(name, bytes, acc), do: name |> fields(bytes, acc) |> turn(name)

  defp turn(message, name) do
    Enum.reduce(Schema.fields(name), message, fn
      {_, key, {:repeated, _}}, message -> Map.update!(message, key, &:lists.reverse/1)
      _, message -> message
    end)
  end

  defp fields(_name, <<>>, acc), do: acc

  defp fields(name, bytes, acc) do
    {number, wire, rest} = read_tag(bytes)

    case Schema.field(name, number) do
      nil ->
        fields(name, skip(wire, number, rest, @depth_max), acc)

      {key, type} ->
        {value, rest} = value(wire(type), wire, rest)
        fields(name, rest, store(acc, key, type, value))
    end
  end

  # Field numbers have 29 bits and begin at 1.
  defp read_tag(bytes) do
    {tag, rest} = read_varint(bytes)
    if tag < 8 or tag > 0xFFFFFFFF, do: throw(:malformed)
    {tag >>> 3, tag &&& 7, rest}
  end

  defp wire(type) when type in [:uint64, :bool], do: 0
  defp wire(:fixed64), do: 1
  defp wire(_type), do: 2

  defp value(wire, wire, bytes), do: read(wire, bytes)
  defp value(_expected, _found, _bytes), do: throw(:malformed)

  defp read(0, bytes), do: read_varint(bytes)
  defp read(1, <<value::64-little, rest::binary>>), do: {value, rest}
  defp read(2, bytes), do: read_delimited(read_varint(bytes))
  defp read(_wire, _bytes), do: throw(:malformed)

  defp read_delimited({size, bytes}) when size <= byte_size(bytes),
    do: :erlang.split_binary(bytes, size)

  defp read_delimited(_too_long), do: throw(:malformed)

  defp skip(5, _number, <<_::32, rest::binary>>, _depth), do: rest

  defp skip(3, number, bytes, depth) when depth > 0 do
    case read_tag(bytes) do
      {^number, 4, rest} -> rest
      {inner, wire, rest} -> skip(3, number, skip(wire, inner, rest, depth - 1), depth)
    end
  end

  defp skip(wire, _number, bytes, _depth) when wire in 0..2 do
    {_value, rest} = read(wire, bytes)
    rest
  end

  defp skip(_wire, _number, _bytes, _depth), do: throw(:malformed)

  defp store(acc, {group, member}, {:message, name}, bytes) do
    # The same member twice is one message in two parts; another member replaces the first.
    case acc do
      %{^group => {^member, before}} -> %{acc | group => {member, again(name, bytes, before)}}
      _ -> %{acc | group => {member, message(name, bytes, Schema.defaults(name))}}
    end
  end

  defp store(acc, key, {:message, name}, bytes) do
    case acc do
      %{^key => nil} -> %{acc | key => message(name, bytes, Schema.defaults(name))}
      %{^key => before} -> %{acc | key => again(name, bytes, before)}
    end
  end

  defp store(acc, key, {:repeated, {:message, name}}, bytes) do
    Map.update!(acc, key, &[message(name, bytes, Schema.defaults(name)) | &1])
  end

  defp store(acc, key, {:repeated, :string}, bytes),
    do: Map.update!(acc, key, &[text(bytes) | &1])

  defp store(acc, key, :string, bytes), do: %{acc | key => text(bytes)}
  defp store(acc, key, :bytes, bytes), do: %{acc | key => :binary.copy(bytes)}
  defp store(acc, key, :bool, value), do: %{acc | key => value != 0}
  defp store(acc, key, _type, value), do: %{acc | key => value}

  defp again(name, bytes, before), do: message(name, bytes, turn(before, name))

  # A copy: a part of a message keeps the whole of it in memory for as long as the part is remembered.
  defp text(bytes), do: if(String.valid?(bytes), do: :binary.copy(bytes), else: throw(:malformed))

  defp read_varint(<<0::1, n::7, rest::binary>>), do: {n, rest}
  defp read_varint(<<1::1, a::7, 0::1, b::7, rest::binary>>), do: {b <<< 7 ||| a, rest}
  defp read_varint(bytes), do: read_varint(bytes, 0, 0)

  # Ten bytes at most, of which the last one has one bit.
  defp read_varint(<<1::1, n::7, rest::binary>>, shift, acc) when shift < 63 do
    read_varint(rest, shift + 7, n <<< shift ||| acc)
  end

  defp read_varint(<<0::1, n::7, rest::binary>>, shift, acc) when shift < 63 or n < 2 do
    {n <<< shift ||| acc, rest}
  end

  defp read_varint(_bytes, _shift, _acc), do: throw(:malformed)
end
