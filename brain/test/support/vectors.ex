defmodule ArqonBrain.Vectors do
  @moduledoc "`vectors/control.json`, and its fields as messages of the table."

  alias ArqonBrain.Wire.Schema

  @path Path.expand("../../../vectors/control.json", __DIR__)
  @external_resource @path

  @doc "The whole file."
  @spec read() :: map
  def read do
    text = File.read!(@path)

    # Erlang has a decoder of its own from 27 on; before that Debian's jiffy serves.
    if Code.ensure_loaded?(:json),
      do: apply(:json, :decode, [text]),
      else: apply(:jiffy, :decode, [text, [:return_maps]])
  end

  @doc "The messages: name, kind, bytes, and the message they stand for."
  @spec messages() :: [{binary, atom, binary, map}]
  def messages do
    file = read()
    sender = file["sender"]

    for vector <- file["messages"] do
      kind = String.to_existing_atom(vector["message"])
      body = {kind, from_json(kind, vector["fields"])}

      control = %{
        from: sender["from"],
        instance: String.to_integer(sender["instance"]),
        incarnation: String.to_integer(sender["incarnation"]),
        body: body
      }

      {vector["name"], kind, Base.decode16!(vector["pb_hex"], case: :lower), control}
    end
  end

  @doc "Fields as JSON has them (numbers as text, bytes as hex) as a message with all keys."
  @spec from_json(atom, map) :: map
  def from_json(:span, [from, to]) do
    %{from: String.to_integer(from), to: String.to_integer(to)}
  end

  def from_json(name, fields) do
    known = for {_, key, _} <- Schema.fields(name), do: key |> member() |> Atom.to_string()
    unknown = Map.keys(fields) -- known
    if unknown != [], do: raise("#{name} has no #{inspect(unknown)}")

    for {_, key, type} <- Schema.fields(name), reduce: Schema.defaults(name) do
      message ->
        case fields[key |> member() |> Atom.to_string()] do
          absent when absent in [nil, :null] -> message
          value -> put(message, key, value(type, value))
        end
    end
  end

  defp member({_group, member}), do: member
  defp member(key), do: key

  defp put(message, {group, member}, value), do: %{message | group => {member, value}}
  defp put(message, key, value), do: %{message | key => value}

  defp value({:message, name}, value), do: from_json(name, value)
  defp value({:repeated, type}, values), do: Enum.map(values, &value(type, &1))
  defp value(:bytes, value), do: Base.decode16!(value, case: :lower)

  defp value(number, value) when number in [:uint64, :fixed64] and is_binary(value),
    do: String.to_integer(value)

  defp value(_type, value), do: value
end
