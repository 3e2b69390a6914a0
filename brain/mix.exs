defmodule ArqonBrain.MixProject do
  use Mix.Project

  def project do
    [
      app: :arqon_brain,
      version: "0.1.0",
      elixir: "~> 1.14",
      elixirc_paths: elixirc_paths(Mix.env()),
      start_permanent: Mix.env() == :prod,
      deps: [],
      aliases: [check: &check/1],
      releases: [arqon_brain: [include_executables_for: [], steps: [:assemble, &only_brain/1]]]
    ]
  end

  def application do
    [
      mod: {ArqonBrain.Application, []},
      extra_applications: [:logger, :crypto, :public_key, :ssl]
    ]
  end

  defp elixirc_paths(:test), do: ["lib", "dev", "test/support"]
  defp elixirc_paths(:dev), do: ["lib", "dev"]
  defp elixirc_paths(_env), do: ["lib"]

  # Every step in a process of its own, so that each is the command that it prints.
  defp check(_arguments) do
    for arguments <- [
          ~w(format --check-formatted),
          ~w(compile --force --warnings-as-errors),
          ~w(xref graph --format cycles --fail-above 0),
          ~w(arqon.lint),
          ~w(arqon.dialyzer),
          ~w(test)
        ] do
      Mix.shell().info("mix " <> Enum.join(arguments, " "))
      options = [into: IO.stream(), stderr_to_stdout: true, env: [{"MIX_ENV", "test"}]]
      {_output, status} = System.cmd("mix", arguments, options)
      if status != 0, do: Mix.raise("failed: mix #{Enum.join(arguments, " ")}")
    end
  end

  # Mix's own scripts read environment variables and start a distributed node; `bin/brain` does neither.
  defp only_brain(release) do
    for name <- ["env.sh", "env.bat", "remote.vm.args", "elixir", "iex"],
        do: File.rm(Path.join([release.version_path, name]))

    File.rm(Path.join([release.path, "releases", "COOKIE"]))
    File.rm(Path.join([release.path, "bin", "arqon_brain"]))
    release
  end
end
