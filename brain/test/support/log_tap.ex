defmodule ArqonBrain.LogTap do
  @moduledoc "A handler of log lines that a test can read while they come, as the Brain writes them."

  @doc "Collects from now on; the result is a function that gives all of it so far."
  def start(filters \\ []) do
    test = self()
    # It outlives the test, as the handler does.
    collector = spawn(fn -> collect(Process.monitor(test), []) end)
    formatter = {:logger_formatter, %{single_line: true, max_size: 100_000}}
    handler = %{config: %{to: collector}, filters: filters, formatter: formatter}
    :ok = :logger.add_handler(__MODULE__, __MODULE__, handler)
    ExUnit.Callbacks.on_exit(fn -> :logger.remove_handler(__MODULE__) end)

    fn ->
      reference = make_ref()
      send(collector, {:read, self(), reference})

      receive do
        {^reference, lines} -> lines |> Enum.reverse() |> Enum.join("\n")
      after
        30_000 -> raise "the lines cannot be had"
      end
    end
  end

  @doc false
  def log(event, %{config: %{to: collector}, formatter: {formatter, config}}) do
    send(collector, {:line, IO.chardata_to_string(formatter.format(event, config))})
  end

  defp collect(test, lines) do
    receive do
      {:line, line} ->
        collect(test, [line | lines])

      {:read, to, reference} ->
        send(to, {reference, lines})
        collect(test, lines)

      {:DOWN, ^test, :process, _pid, _reason} ->
        :ok
    end
  end
end
