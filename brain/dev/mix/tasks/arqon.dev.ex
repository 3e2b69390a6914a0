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
  @build Path.expand("_build/reload")

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

  # The size besides, because times are seconds. A file that is being replaced may be gone for a moment.
  defp stamps do
    for file <- Path.wildcard("lib/**/*.ex"),
        {:ok, stat} <- [File.stat(file)],
        do: {file, stat.mtime, stat.size}
  end

  # Compiled beside the running program, because the compiler unloads a module before it knows that the new one is good.
  defp recompile do
    options = [
      env: [{"MIX_BUILD_PATH", @build}, {"MIX_ENV", "dev"}],
      into: IO.stream(),
      stderr_to_stdout: true
    ]

    case System.cmd("mix", ["compile"], options) do
      {_output, 0} -> Mix.shell().info("loaded: #{Enum.join(load_changed(), ", ")}")
      {_output, _status} -> Mix.shell().error("nothing loaded: it does not compile")
    end
  end

  defp load_changed do
    for beam <- Path.wildcard("#{@build}/lib/arqon_brain/ebin/*.beam"),
        binary = File.read!(beam),
        {:ok, {module, md5}} = :beam_lib.md5(binary),
        not (Code.ensure_loaded?(module) and module.module_info(:md5) == md5) do
      :code.purge(module)
      {:module, ^module} = :code.load_binary(module, String.to_charlist(beam), binary)
      inspect(module)
    end
  end
end
