defmodule ArqonBrain.Application do
  @moduledoc """
  Starts the Brain.

  `bin/brain FILE` gives the virtual machine the flag `-arqon_config FILE`. Without it, as in tests, only the tables of
  metrics and health are there, and `serve/2` adds the rest.
  """

  use Application

  alias ArqonBrain.{Config, Health, Log, Metrics, Reload, Tree}

  @impl true
  def start(_type, _args) do
    case :init.get_argument(:arqon_config) do
      {:ok, [[file]]} -> start_served(to_string(file))
      :error -> start_supervisor([])
    end
  end

  defp start_served(file) do
    with {:ok, config} <- Config.load(file),
         :ok <- Log.start(config.log_level),
         {:ok, supervisor} <- start_supervisor(on_ready: fn -> IO.puts(ready_line(config)) end),
         {:ok, _tree} <- serve(config, file: file) do
      {:ok, supervisor}
    else
      {:error, reason} -> give_up(reason)
    end
  end

  defp start_supervisor(health) do
    children = [Metrics, {Health, health}]
    Supervisor.start_link(children, strategy: :one_for_all, name: ArqonBrain.Supervisor)
  end

  @doc "Puts a configuration in force and starts everything that works. Options are those of `ArqonBrain.Tree`."
  @spec serve(Config.t(), Tree.options()) :: {:ok, pid} | {:error, term}
  def serve(config, options) do
    Config.put(config)
    if file = options[:file], do: Reload.handle_signals(file)
    Supervisor.start_child(ArqonBrain.Supervisor, {Tree, {config, options}})
  end

  defp ready_line(config) do
    {host, _port} = config.admin_listen
    "#{config.name}: ready; admin port http://#{host}:#{ArqonBrain.Http.Server.port()}"
  end

  # A person reads this: one line, and no report of a crash around it.
  @spec give_up(term) :: no_return
  defp give_up(reason) do
    IO.puts(:stderr, "brain: #{text(reason)}")
    System.halt(1)
  end

  defp text(reason) when is_binary(reason), do: reason
  defp text({:shutdown, reason}), do: text(reason)
  defp text({:failed_to_start_child, _child, reason}), do: text(reason)
  defp text({reason, child}) when is_tuple(child) and elem(child, 0) == :child, do: text(reason)
  defp text(reason), do: inspect(reason)
end
