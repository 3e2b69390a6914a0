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
      aliases: aliases(),
      releases: releases(),
      preferred_cli_env: [check: :test]
    ]
  end

  def application do
    [
      mod: {ArqonBrain.Application, []},
      extra_applications: [:logger, :crypto, :public_key, :ssl]
    ]
  end

  defp elixirc_paths(:test), do: ["lib", "test/support"]
  defp elixirc_paths(_env), do: ["lib"]

  defp aliases, do: []

  defp releases, do: []
end
