defmodule ArqonBrain.Health do
  @moduledoc """
  Whether the Brain is fit to work, and why not.

  Each part sets its own check. The Brain is ready if no check is down; it is degraded if one is missing that it can
  work without. Before the first time it is ready it is `started: down`.
  """

  use GenServer

  @table __MODULE__
  @optional [:valkey]

  @type status :: :ok | {:degraded | :down, reason :: binary}
  @type check :: %{name: atom, ok: boolean, optional: boolean, reason: binary}

  @doc "Starts the owner of the table. `on_ready` is called once, when the Brain is ready for the first time."
  @spec start_link(on_ready: fun) :: GenServer.on_start()
  def start_link(options), do: GenServer.start_link(__MODULE__, options, name: __MODULE__)

  @doc "For a supervisor, as its last child: everything before it has been started, this time."
  @spec started() :: Supervisor.child_spec()
  def started, do: %{id: __MODULE__, start: {__MODULE__, :set_started, []}}

  @doc false
  @spec set_started() :: :ignore
  def set_started do
    set(:started, :ok)
    :ignore
  end

  @doc "Sets one check, by its name."
  @spec set(atom, status) :: :ok
  def set(name, status) do
    :ets.insert(@table, {name, status})
    GenServer.cast(__MODULE__, :changed)
  end

  @doc "Whether the Brain is ready or degraded, with every check by name."
  @spec readiness() :: %{ready: boolean, degraded: boolean, checks: [check]}
  def readiness do
    checks = @table |> :ets.tab2list() |> Enum.sort() |> Enum.map(&check/1)
    failed = fn optional -> Enum.any?(checks, &(not &1.ok and &1.optional == optional)) end
    %{ready: not failed.(false), degraded: failed.(true), checks: checks}
  end

  defp check({name, :ok}), do: %{name: name, ok: true, optional: name in @optional, reason: ""}

  defp check({name, {:degraded, reason}}),
    do: %{name: name, ok: false, optional: true, reason: reason}

  defp check({name, {:down, reason}}),
    do: %{name: name, ok: false, optional: false, reason: reason}

  @impl true
  def init(options) do
    @table = :ets.new(@table, [:named_table, :public])
    :ets.insert(@table, {:started, {:down, "the Brain is starting"}})
    {:ok, Keyword.get(options, :on_ready, fn -> :ok end)}
  end

  @impl true
  def handle_cast(:changed, nil), do: {:noreply, nil}

  def handle_cast(:changed, on_ready) do
    if readiness().ready do
      on_ready.()
      {:noreply, nil}
    else
      {:noreply, on_ready}
    end
  end
end
