defmodule ArqonBrain.Reload do
  @moduledoc """
  Reads the configuration again at a SIGHUP: all of it or nothing.

  A file that is wrong, or that differs in something that cannot change at run time, is refused whole and the reason is
  logged.
  """

  @behaviour :gen_event

  require Logger

  alias ArqonBrain.{Config, Log, Metrics}

  @doc "Takes SIGHUP from now on; SIGTERM stops the Brain in order without any help."
  @spec handle_signals(Path.t()) :: :ok
  def handle_signals(file) do
    :ok = :os.set_signal(:sighup, :handle)
    _removed = :gen_event.delete_handler(:erl_signal_server, __MODULE__, :replaced)
    :ok = :gen_event.add_handler(:erl_signal_server, __MODULE__, file)
  end

  @doc "Puts the file in force, or says why it is not."
  @spec reload(Path.t()) :: {:ok, changed :: [binary]} | {:error, binary}
  def reload(file) do
    with {:ok, new} <- Config.load(file),
         {changed, []} <- Config.difference(Config.get(), new) do
      Config.put(new)
      Log.level(new.log_level)
      {:ok, changed}
    else
      {:error, reason} ->
        {:error, reason}

      {_changed, fixed} ->
        {:error, "#{file}: #{Enum.join(fixed, ", ")} can only change with a restart"}
    end
  end

  @impl true
  def init(file), do: {:ok, file}

  @impl true
  def handle_event(:sighup, file) do
    case reload(file) do
      {:ok, changed} ->
        Metrics.count(:config_reloads_total, result: :ok)
        Logger.notice("configuration: read again; changed: #{list(changed)}")

      {:error, reason} ->
        Metrics.count(:config_reloads_total, result: :refused)
        Logger.error("configuration: refused, the old one stays in force: #{reason}")
    end

    {:ok, file}
  end

  def handle_event(_signal, file), do: {:ok, file}

  @impl true
  def handle_call(_request, file), do: {:ok, :ok, file}

  defp list([]), do: "nothing"
  defp list(keys), do: Enum.join(keys, ", ")
end
