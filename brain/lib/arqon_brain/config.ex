defmodule ArqonBrain.Config do
  @moduledoc """
  What the Brain is told by its file.

  The file holds Erlang terms and is written by `arq config render brain` from the one `config.toml`; defaults and units
  stand there. Every key has to be there and no other may: a misspelt key must not mean a default.
  """

  alias ArqonBrain.Config.Schema

  @enforce_keys [:name, :admin_listen, :shards, :spine, :presence, :limits, :valkey, :log_level]
  defstruct @enforce_keys

  @type address :: {host :: binary, port :: :inet.port_number()}

  @type auth :: :none | {:password, binary, Path.t()} | {:nkey, Path.t()} | {:creds, Path.t()}

  @type tls :: %{ca_file: Path.t() | nil, cert_file: Path.t() | nil, key_file: Path.t() | nil}

  @type spine :: %{
          servers: [{:tcp | :tls, host :: binary, port :: :inet.port_number()}],
          auth: auth,
          tls: nil | tls,
          queue_bytes_max: pos_integer,
          queue_messages_max: pos_integer
        }

  @type presence :: %{
          lease_ms: pos_integer,
          grace_ms: pos_integer,
          announce_window_ms: pos_integer,
          sync_ms: pos_integer,
          idle_close_ms: pos_integer,
          permanent_down_ms: pos_integer
        }

  @type limits :: %{
          shields_max: pos_integer,
          rooms_max: pos_integer,
          sessions_per_room_max: pos_integer
        }

  @type valkey :: %{
          address: address,
          user: binary | nil,
          password_file: Path.t() | nil,
          prefix: binary
        }

  @type t :: %__MODULE__{
          name: binary,
          admin_listen: address,
          shards: non_neg_integer,
          spine: spine,
          presence: presence,
          limits: limits,
          valkey: nil | valkey,
          log_level: :debug | :info | :warning | :error
        }

  # What may change while the Brain runs. Everything else needs a restart.
  @reloadable [[:log_level], [:presence, :idle_close_ms]]

  @doc "Reads and checks a file. The reason names the file and the key and says what is expected."
  @spec load(Path.t()) :: {:ok, t} | {:error, reason :: binary}
  def load(path) do
    with {:ok, terms} <- consult(path),
         {:ok, values} <- top(terms),
         {:ok, fields} <- Schema.check(values) do
      {:ok, struct!(__MODULE__, fields)}
    else
      {:error, reason} -> {:error, "#{path}: #{reason}"}
    end
  end

  defp consult(path) do
    case :file.consult(String.to_charlist(path)) do
      {:ok, terms} -> {:ok, terms}
      {:error, reason} -> {:error, "cannot be read: #{:file.format_error(reason)}"}
    end
  end

  defp top([[{:arqon_brain, values}]]), do: {:ok, values}

  defp top(_terms),
    do:
      {:error,
       "must hold one term, [{arqon_brain, [...]}]; render it with `arq config render brain`"}

  @doc "The configuration that is in force. Raises before `put/1`."
  @spec get() :: t
  def get, do: :persistent_term.get(__MODULE__)

  @doc "Puts a configuration in force."
  @spec put(t) :: :ok
  def put(%__MODULE__{} = config), do: :persistent_term.put(__MODULE__, config)

  @doc "The keys in which two configurations differ: those that may change at run time, and those that may not."
  @spec difference(t, t) :: {reloadable :: [binary], fixed :: [binary]}
  def difference(old, new) do
    changed = differing(Map.from_struct(old), Map.from_struct(new), [])
    {reloadable, fixed} = Enum.split_with(changed, &(&1 in @reloadable))
    {Enum.map(reloadable, &Enum.join(&1, ".")), Enum.map(fixed, &Enum.join(&1, "."))}
  end

  defp differing(same, same, _path), do: []

  defp differing(%{} = old, %{} = new, path) do
    keys = Enum.uniq(Enum.sort(Map.keys(old) ++ Map.keys(new)))
    Enum.flat_map(keys, &differing(Map.get(old, &1), Map.get(new, &1), path ++ [&1]))
  end

  defp differing(_old, _new, path), do: [path]
end
