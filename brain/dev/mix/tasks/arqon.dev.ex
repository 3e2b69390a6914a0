defmodule Mix.Tasks.Arqon.Dev do
  @shortdoc "Runs a Brain that takes over changed modules while it runs"
  @moduledoc """
  `mix arqon.dev FILE` runs a Brain with that configuration (`arq config render brain`).

  When a file in `lib/` is saved, what changed is compiled and loaded into the running Brain: its processes keep their
  state and use the new code from their next message on. What a process was started with (configuration, timers) stays.
  """

  use Mix.Task

  alias ArqonBrain.{Config, Health, Http}

  @look_ms 300

  @impl true
  @spec run([binary]) :: no_return
  def run([file]) do
    Mix.Task.run("app.start")

    with {:ok, config} <- Config.load(file),
         {:ok, _tree} <- ArqonBrain.Application.serve(config, file: file) do
      Mix.shell().info(
        "#{config.name} runs; admin port #{Http.Server.port()}; ready: #{Health.readiness().ready}"
      )

      watch(stamps())
    else
      {:error, reason} when is_binary(reason) -> Mix.raise(reason)
      {:error, reason} -> Mix.raise(inspect(reason))
    end
  end

  def run(_arguments), do: Mix.raise("usage: mix arqon.dev FILE")

  defp watch(known) do
    receive do
    after
      @look_ms -> :ok
    end

    case stamps() do
      ^known ->
        watch(known)

      changed ->
        recompile()
        watch(changed)
    end
  end

  defp stamps, do: for(file <- Path.wildcard("lib/**/*.ex"), do: {file, File.stat!(file).mtime})

  # The compiler loads what it compiles; what does not compile changes nothing.
  defp recompile do
    before = loaded()
    Mix.Task.reenable("compile.elixir")

    case Mix.Task.run("compile.elixir", ["--return-errors"]) do
      {:error, errors} ->
        Mix.shell().error("not loaded, #{length(errors)} errors")

      {_ok, _warnings} ->
        names = for {module, md5} <- loaded(), before[module] != md5, do: inspect(module)
        Mix.shell().info("loaded: #{Enum.join(names, ", ")}")
    end
  end

  defp loaded do
    for {module, _path} <- :code.all_loaded(),
        String.starts_with?(Atom.to_string(module), "Elixir.ArqonBrain"),
        into: %{},
        do: {module, module.module_info(:md5)}
  end
end
