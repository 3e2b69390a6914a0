defmodule ArqonBrain.Config.Schema do
  @moduledoc """
  The keys of the configuration, and what each may be.

  A table and the functions that read it: `check/1` gives plain values or the first thing that is wrong.
  """

  @keys [
    name: :name,
    admin_listen: :address,
    shards: {:integer, 0, 64},
    spine: [
      servers: :servers,
      auth: :auth,
      tls:
        {:optional,
         [ca_file: {:maybe, :path}, cert_file: {:maybe, :path}, key_file: {:maybe, :path}]},
      queue_bytes_max: {:integer, 65_536, 1_073_741_824},
      queue_messages_max: {:integer, 16, 16_777_216}
    ],
    presence: [
      lease_ms: {:integer, 1, 600_000},
      grace_ms: {:integer, 1, 600_000},
      announce_window_ms: {:integer, 1, 60_000},
      sync_ms: {:integer, 1, 3_600_000},
      idle_close_ms: {:integer, 1, 86_400_000},
      permanent_down_ms: {:integer, 1, 86_400_000}
    ],
    limits: [
      shields_max: {:integer, 1, 400},
      rooms_max: {:integer, 1, 1_000_000},
      sessions_per_room_max: {:integer, 1, 50_000}
    ],
    valkey:
      {:optional,
       [address: :address, user: {:maybe, :text}, password_file: {:maybe, :path}, prefix: :text]},
    log_level: {:one_of, [:debug, :info, :warning, :error]}
  ]

  @doc "Checks the values of the file against the table."
  @spec check(term) :: {:ok, map} | {:error, binary}
  def check(values) do
    {:ok, group(values, @keys, [])}
  catch
    {:wrong, path, message} -> {:error, "#{Enum.map_join(path, ".", &to_string/1)}: #{message}"}
  end

  defp group(values, keys, path) do
    if not (proper?(values) and Enum.all?(values, &match?({key, _value} when is_atom(key), &1))) do
      wrong(path ++ [:...], "must be a list of {key, value}, not #{show(values)}")
    end

    for {key, _value} <- values, not Keyword.has_key?(keys, key) do
      wrong(path ++ [key], "unknown key#{nearest(key, Keyword.keys(keys))}")
    end

    for {key, [_one, _two | _rest]} <- Enum.group_by(values, &elem(&1, 0)) do
      wrong(path ++ [key], "stands there twice")
    end

    Map.new(keys, fn {key, type} -> {key, field(values, key, type, path ++ [key])} end)
  end

  defp field(values, key, type, path) do
    case {Keyword.fetch(values, key), type} do
      {{:ok, value}, {:maybe, type}} ->
        value(value, type, path)

      {:error, {:maybe, _type}} ->
        nil

      {{:ok, value}, type} ->
        value(value, type, path)

      {:error, _type} ->
        wrong(path, "is missing; render the file again with `arq config render brain`")
    end
  end

  defp value(:none, {:optional, _keys}, _path), do: nil
  defp value(value, {:optional, keys}, path), do: group(value, keys, path)
  defp value(value, keys, path) when is_list(keys), do: group(value, keys, path)

  defp value(value, {:integer, low, high}, path) do
    if is_integer(value) and value >= low and value <= high,
      do: value,
      else: wrong(path, "must be a whole number from #{low} to #{high}, not #{show(value)}")
  end

  defp value(value, {:one_of, allowed}, path) do
    if value in allowed,
      do: value,
      else: wrong(path, "must be one of #{Enum.join(allowed, ", ")}, not #{show(value)}")
  end

  defp value(value, :name, path) do
    if is_binary(value) and value =~ ~r/\A[A-Za-z0-9][A-Za-z0-9_-]{0,63}\z/,
      do: value,
      else: wrong(path, "must be 1 to 64 letters, digits, _ and -, not #{show(value)}")
  end

  defp value(value, :text, path), do: text(value, path, "a text")
  defp value(value, :path, path), do: text(value, path, "the path of a file")

  defp value({host, port}, :address, path) when is_integer(port) and port in 0..65_535,
    do: {text(host, path, "a host"), port}

  defp value(value, :address, path),
    do: wrong(path, "must be {<<\"host\">>, port}, not #{show(value)}")

  defp value([_one | _rest] = servers, :servers, path) when length(servers) <= 64,
    do: Enum.map(servers, &server(&1, path))

  defp value(value, :servers, path),
    do: wrong(path, "must be a list of 1 to 64 addresses, not #{show(value)}")

  defp value(:none, :auth, _path), do: :none

  defp value({:password, user, file}, :auth, path),
    do: {:password, text(user, path, "a user"), text(file, path, "the path of a file")}

  defp value({kind, file}, :auth, path) when kind in [:nkey, :creds],
    do: {kind, text(file, path, "the path of a file")}

  # The value is not shown: somebody may have put a secret here.
  defp value(_value, :auth, path),
    do: wrong(path, "must be none, {password, User, File}, {nkey, File} or {creds, File}")

  defp text(value, path, what) do
    if is_binary(value) and value != "" and String.valid?(value) and
         not String.contains?(value, <<0>>),
       do: value,
       else: wrong(path, "must be #{what} as <<\"...\">>, not #{show(value)}")
  end

  # In Erlang's notation a list may end in anything.
  defp proper?(values), do: is_list(values) and not List.improper?(values)

  @schemes %{"nats" => :tcp, "tls" => :tls}

  defp server(address, path) do
    uri = uri(address)

    cond do
      # Whatever else may be wrong with it: the message would show the secret.
      is_binary(address) and String.contains?(address, "@") ->
        wrong(path, "an address must not hold a user or a password; set spine.auth")

      is_map_key(@schemes, uri.scheme) and uri.host not in [nil, ""] and
        uri.path in [nil, "", "/"] and (uri.port == nil or uri.port in 1..65_535) ->
        {@schemes[uri.scheme], uri.host, uri.port || 4222}

      true ->
        wrong(
          path,
          "an address must be nats://host:port or tls://host:port, not #{show(address)}"
        )
    end
  end

  # Not `URI.parse/1`, which reads a port that is no number as none.
  defp uri(address) do
    with true <- is_binary(address), {:ok, uri} <- URI.new(address) do
      uri
    else
      _other -> %URI{}
    end
  end

  defp nearest(key, keys) do
    best = Enum.max_by(keys, &String.jaro_distance(to_string(key), to_string(&1)))

    if String.jaro_distance(to_string(key), to_string(best)) > 0.7,
      do: "; did you mean #{best}?",
      else: ""
  end

  defp show(value), do: inspect(value, limit: 8, printable_limit: 80)

  @spec wrong([atom], binary) :: no_return
  defp wrong(path, message), do: throw({:wrong, path, message})
end
