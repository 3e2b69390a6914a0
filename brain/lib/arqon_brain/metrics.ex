defmodule ArqonBrain.Metrics do
  @moduledoc """
  Counters and gauges, and their text for Prometheus.

  Writing is one step on a public table and works from every process. Names stand in `ArqonBrain.Metrics.Names`.
  """

  use GenServer

  alias ArqonBrain.Metrics.Names

  @table __MODULE__

  @doc "Starts the owner of the table."
  @spec start_link(term) :: GenServer.on_start()
  def start_link(_options), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @doc "Adds to a counter. Labels always come in the same order."
  @spec count(atom, keyword, non_neg_integer) :: :ok
  def count(name, labels \\ [], n \\ 1) do
    _sum = :ets.update_counter(@table, {name, labels}, n, {{name, labels}, 0})
    :ok
  end

  @doc "Sets a gauge."
  @spec set(atom, keyword, number) :: :ok
  def set(name, labels \\ [], value) do
    :ets.insert(@table, {{name, labels}, value})
    :ok
  end

  @doc "What a counter or gauge has now; 0 if it was never touched."
  @spec get(atom, keyword) :: number
  def get(name, labels \\ []) do
    case :ets.lookup(@table, {name, labels}) do
      [{_key, value}] -> value
      [] -> 0
    end
  end

  @doc "Everything, in the text format of Prometheus."
  @spec render() :: iodata
  def render do
    machine()
    values = Enum.group_by(:ets.tab2list(@table), fn {{name, _labels}, _value} -> name end)

    for {name, {kind, help}} <- Names.all() do
      full = "arqon_brain_#{name}"
      samples = values |> Map.get(name, [{{name, []}, 0}]) |> Enum.sort()
      ["# HELP #{full} #{help}\n# TYPE #{full} #{kind}\n", Enum.map(samples, &sample(full, &1))]
    end
  end

  defp sample(full, {{_name, labels}, value}),
    do: [full, labels(labels), " ", to_string(value), "\n"]

  defp labels([]), do: ""

  defp labels(labels) do
    pair = fn {key, value} -> [to_string(key), "=\"", escape(to_string(value)), "\""] end
    ["{", Enum.map_intersperse(labels, ",", pair), "}"]
  end

  defp escape(text), do: String.replace(text, ["\\", "\"", "\n"], &escape_one/1)

  defp escape_one("\n"), do: "\\n"
  defp escape_one(char), do: "\\" <> char

  # Read when somebody asks, so that nothing has to run in between.
  defp machine do
    for kind <- [:total, :processes, :binary, :ets],
        do: set(:memory_bytes, [kind: kind], :erlang.memory(kind))

    {wall_ms, _since} = :erlang.statistics(:wall_clock)
    set(:uptime_seconds, div(wall_ms, 1000))
    set(:processes, :erlang.system_info(:process_count))
    set(:run_queue, :erlang.statistics(:run_queue))
    set(:mailbox_messages_max, mailbox_max())
  end

  # Those with names: everybody talks to them. A room's process is one of very many and hears little.
  defp mailbox_max do
    Enum.reduce(Process.registered(), 0, fn name, most ->
      with pid when is_pid(pid) <- Process.whereis(name),
           {:message_queue_len, length} <- Process.info(pid, :message_queue_len) do
        max(length, most)
      else
        _gone_or_port -> most
      end
    end)
  end

  @impl true
  def init(nil) do
    @table = :ets.new(@table, [:named_table, :public, write_concurrency: true])
    {:ok, nil}
  end
end
