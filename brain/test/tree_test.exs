defmodule ArqonBrain.TreeTest do
  use ExUnit.Case, async: false

  alias ArqonBrain.{ConfigFixture, Health, Http, NatsServer, Nats, OsProcess, Store, Tree}

  @moduletag :tmp_dir
  @moduletag capture_log: true

  # A Directory that passes on what it hears.
  defmodule Control do
    use GenServer

    def children(_config), do: [__MODULE__]
    def start_link(_options), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)
    def link(up), do: send(:persistent_term.get(__MODULE__), {:link, up})
    def handle(_subject, _payload), do: :ok

    @impl true
    def init(nil) do
      Store.subscribe(self())
      {:ok, nil}
    end

    @impl true
    def handle_info(message, nil) do
      send(:persistent_term.get(__MODULE__), {:directory, self(), message})
      {:noreply, nil}
    end
  end

  setup context do
    :persistent_term.put(Control, self())
    server = NatsServer.start(context.tmp_dir)
    on_exit(fn -> NatsServer.stop(server) end)
    config = ConfigFixture.config(spine: NatsServer.spine(server))
    start_supervised!({Tree, {config, control: Control}})
    assert_receive {:link, true}
    :ok
  end

  test "a Directory that crashes comes back with a new connection, and hears what the store knows" do
    assert_receive {:directory, first, {:store, {:loaded, _all}}}
    assert first == Process.whereis(Control)

    [connection, store, http] =
      Enum.map([Nats.Connection, Store, Http.Server], &Process.whereis/1)

    Process.exit(first, :kill)
    assert_receive {:directory, second, {:store, {:loaded, _all}}}
    assert second != first
    assert_receive {:link, true}
    assert Process.whereis(Store) == store
    refute Process.whereis(Nats.Connection) == connection

    OsProcess.wait_until(
      fn -> Process.whereis(Http.Server) not in [nil, http] end,
      "the admin port"
    )

    OsProcess.wait_until(
      fn -> Enum.find(Health.readiness().checks, &(&1.name == :spine)).ok end,
      "the spine"
    )
  end

  test "a connection that crashes takes nothing before it along" do
    [control, connection] = Enum.map([Control, Nats.Connection], &Process.whereis/1)
    Process.exit(connection, :kill)
    assert_receive {:link, false}
    assert_receive {:link, true}
    assert Process.whereis(Control) == control
    assert ArqonBrain.Spine.publish("_arqon.shields", "x") == :ok
  end

  test "what is started again after the table of health is ready again", context do
    stop_supervised!(Tree)
    server = NatsServer.start(context.tmp_dir)
    on_exit(fn -> NatsServer.stop(server) end)
    config = ConfigFixture.config(spine: NatsServer.spine(server))
    before = Process.whereis(Health)
    {:ok, _tree} = ArqonBrain.Application.serve(config, control: Control)

    on_exit(fn ->
      :ok = Supervisor.terminate_child(ArqonBrain.Supervisor, Tree)
      :ok = Supervisor.delete_child(ArqonBrain.Supervisor, Tree)
    end)

    ready? = fn -> Process.whereis(Http.Server) && Health.readiness().ready end
    OsProcess.wait_until(ready?, "the Brain")
    Process.exit(before, :kill)

    again? = fn ->
      Process.whereis(Health) not in [nil, before] and Process.whereis(Http.Server) &&
        Health.readiness().ready
    end

    OsProcess.wait_until(again?, "the Brain, again")
  end
end
