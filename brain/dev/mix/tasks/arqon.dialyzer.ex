defmodule Mix.Tasks.Arqon.Dialyzer do
  @shortdoc "Runs OTP's dialyzer over the compiled Brain"
  @moduledoc """
  Runs OTP's own dialyzer. What it has learned of OTP and Elixir is kept in `_build/plt`, by their versions; making that
  takes some minutes once.
  """

  use Mix.Task

  @otp [:erts, :kernel, :stdlib, :crypto, :public_key, :asn1, :ssl]
  @elixir [:elixir, :logger]
  @output_max 20_000
  @options ~w(--quiet -Wunmatched_returns -Werror_handling)

  @impl true
  @spec run([binary]) :: :ok
  def run(_arguments) do
    Mix.Task.run("compile")

    program =
      System.find_executable("dialyzer") ||
        Mix.raise("dialyzer is not installed; `cargo xtask test` installs it")

    plt = Path.expand("_build/plt/otp-#{System.otp_release()}-elixir-#{System.version()}.plt")
    if not File.exists?(plt), do: build(program, plt)

    {files, tasks} =
      "#{Mix.Project.compile_path()}/*.beam" |> Path.wildcard() |> Enum.split_with(&shipped?/1)

    Mix.shell().info(
      "dialyzer: #{length(files)} modules (#{length(tasks)} of tests and tasks left out)"
    )

    case System.cmd(program, elixir() ++ ["--plt", plt | @options] ++ files,
           stderr_to_stdout: true
         ) do
      {_output, 0} -> :ok
      {output, _status} -> Mix.raise("dialyzer:\n" <> String.slice(output, 0, @output_max))
    end
  end

  # It asks Elixir's own modules what a compiled one means.
  defp elixir, do: Enum.flat_map(@elixir, &["-pa", Path.join(:code.lib_dir(&1), "ebin")])

  # What stands in `lib/`.
  defp shipped?(beam) do
    {:ok, {_module, [compile_info: info]}} =
      :beam_lib.chunks(String.to_charlist(beam), [:compile_info])

    String.starts_with?(to_string(info[:source]), Path.expand("lib") <> "/")
  end

  defp build(program, plt) do
    Mix.shell().info("dialyzer: learning about OTP and Elixir, once; this takes some minutes")
    File.mkdir_p!(Path.dirname(plt))

    folders =
      for application <- @otp ++ @elixir, do: Path.join(:code.lib_dir(application), "ebin")

    # First beside it: a table that was interrupted must not be taken for one.
    half = plt <> ".half"
    arguments = elixir() ++ ["--build_plt", "--quiet", "--output_plt", half, "-r" | folders]

    # Unknown functions of applications that are left out end with status 2.
    case System.cmd(program, arguments, stderr_to_stdout: true) do
      {_output, status} when status in [0, 2] -> File.rename!(half, plt)
      {output, _status} -> Mix.raise("dialyzer:\n" <> String.slice(output, 0, @output_max))
    end
  end
end
