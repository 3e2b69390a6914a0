defmodule Mix.Tasks.Arqon.Lint do
  @shortdoc "Checks what neither the compiler nor the formatter does"
  @moduledoc """
  Checks the sources of the Brain:

  - each module has a `@moduledoc` with text, each public function and macro of `lib/` a `@spec`;
  - a file has at most 400 lines and a function at most 70;
  - no test sleeps, and nothing in `lib/` reads the environment.
  """

  use Mix.Task

  @file_lines_max 400
  @function_lines_max 70
  @definitions [:def, :defp, :defmacro, :defmacrop]

  @impl true
  @spec run([binary]) :: :ok
  def run(_arguments) do
    files = Path.wildcard("{lib,dev,test}/**/*.{ex,exs}")
    findings = Enum.flat_map(files, &check(&1, File.read!(&1)))
    Enum.each(findings, &Mix.shell().error(&1))
    if findings != [], do: Mix.raise("#{length(findings)} findings in #{length(files)} files")
    Mix.shell().info("#{length(files)} files, 0 findings")
  end

  @doc "The findings in the text of one file."
  @spec check(Path.t(), binary) :: [binary]
  def check(path, text) do
    tree = Code.string_to_quoted!(text, file: path, token_metadata: true)
    lines = text |> String.split("\n") |> length() |> Kernel.-(1)

    long =
      if lines > @file_lines_max,
        do: ["#{path}: #{lines} lines, at most #{@file_lines_max}"],
        else: []

    library? = String.starts_with?(path, "lib/")
    modules = if Path.extname(path) == ".ex", do: modules(tree), else: []

    long ++
      long_functions(path, tree) ++
      banned(path, tree, library?) ++
      Enum.flat_map(modules, &module(path, &1, library?))
  end

  defp modules(tree) do
    {_tree, found} =
      Macro.prewalk(tree, [], fn
        {:defmodule, meta, [name, [{_do, body} | _rest]]} = node, found ->
          {node, [{Macro.to_string(name), meta[:line], statements(body)} | found]}

        node, found ->
          {node, found}
      end)

    Enum.reverse(found)
  end

  defp statements({:__block__, _meta, statements}), do: statements
  defp statements(statement), do: [statement]

  defp module(path, {name, line, statements}, library?) do
    documented =
      Enum.any?(statements, &match?({:@, _, [{:moduledoc, _, [text]}]} when text != false, &1))

    missing = if documented, do: [], else: ["#{path}:#{line}: #{name} has no @moduledoc"]
    if library?, do: missing ++ without_spec(path, name, statements), else: missing
  end

  # What a behaviour demands is specified there.
  defp without_spec(path, module, statements) do
    {_impl, _specified, findings} =
      Enum.reduce(statements, {false, MapSet.new(), %{}}, fn
        {:@, _, [{:impl, _, [what]}]}, {_impl, specs, findings} when what != false ->
          {true, specs, findings}

        {:@, _, [{:spec, _, [spec]}]}, {impl, specs, findings} ->
          {impl, MapSet.put(specs, spec_name(spec)), findings}

        {kind, meta, [head | _body]}, {impl, specs, findings} when kind in [:def, :defmacro] ->
          name = name_and_arity(head)
          known? = impl or name in specs or is_map_key(findings, name)
          specs = if impl, do: MapSet.put(specs, name), else: specs
          {name_text, arity} = name
          text = "#{path}:#{meta[:line]}: #{module}.#{name_text}/#{arity} has no @spec"
          {false, specs, if(known?, do: findings, else: Map.put(findings, name, text))}

        _other, state ->
          state
      end)

    Map.values(findings)
  end

  defp spec_name({:when, _, [spec, _types]}), do: spec_name(spec)
  defp spec_name({:"::", _, [call, _result]}), do: name_and_arity(call)

  defp name_and_arity({:when, _, [head | _guards]}), do: name_and_arity(head)
  defp name_and_arity({name, _, arguments}), do: {name, length(List.wrap(arguments))}

  defp long_functions(path, tree) do
    {_tree, findings} =
      Macro.prewalk(tree, [], fn
        {kind, meta, [head | _body]} = node, findings when kind in @definitions ->
          last = (meta[:end] || meta[:end_of_expression] || meta)[:line]
          lines = last - meta[:line] + 1
          {name, arity} = name_and_arity(head)

          text =
            "#{path}:#{meta[:line]}: #{name}/#{arity} has #{lines} lines, at most #{@function_lines_max}"

          {node, if(lines > @function_lines_max, do: [text | findings], else: findings)}

        node, findings ->
          {node, findings}
      end)

    findings
  end

  @banned [
    {[:Process, :sleep], "wait for the event, with a deadline"},
    {[:System, :get_env], "no environment variable changes behaviour"},
    {[:IO, :inspect], "left over from a search"}
  ]

  defp banned(path, tree, library?) do
    {_tree, findings} =
      Macro.prewalk(tree, [], fn
        {{:., meta, [{:__aliases__, _, module}, function]}, _, _arguments} = node, findings ->
          found = Enum.find(@banned, fn {call, _why} -> call == module ++ [function] end)
          {node, if(found, do: [finding(path, meta, found) | findings], else: findings)}

        {{:., meta, [:timer, :sleep]}, _, _arguments} = node, findings ->
          {node,
           [
             finding(path, meta, {[:timer, :sleep], "wait for the event, with a deadline"})
             | findings
           ]}

        node, findings ->
          {node, findings}
      end)

    if library? or String.starts_with?(path, "test/"), do: findings, else: []
  end

  defp finding(path, meta, {call, why}),
    do: "#{path}:#{meta[:line]}: #{Enum.join(call, ".")}: #{why}"
end
