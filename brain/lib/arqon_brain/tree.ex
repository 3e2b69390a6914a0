defmodule ArqonBrain.Tree do
  @moduledoc """
  The processes of a Brain in the order in which they need each other: each is restarted with all behind it.

  Store, then what `ArqonBrain.Control` has (Directory, shards, rooms), then the connection that feeds it, and last the
  admin port that shows it.
  """

  use Supervisor

  alias ArqonBrain.{Config, Health, Http, Nats, Spine, Store}

  @type options :: [
          file: Path.t(),
          control: module,
          extra: [{binary, Nats.Connection.handler()}]
        ]

  @doc "Starts them. `extra` are further subscriptions of the connection, for tests."
  @spec start_link({Config.t(), options}) :: Supervisor.on_start()
  def start_link(argument), do: Supervisor.start_link(__MODULE__, argument, name: __MODULE__)

  @impl true
  def init({config, options}) do
    control = Keyword.get(options, :control, ArqonBrain.Control)
    Spine.use_module(Nats.Connection)

    connection = [
      name: config.name,
      spine: config.spine,
      control: control,
      extra: Keyword.get(options, :extra, [])
    ]

    children =
      [{Store, valkey: config.valkey}] ++
        control.children(config) ++
        [
          {Nats.Connection, connection},
          {Http.Server, listen: config.admin_listen},
          Health.started()
        ]

    Supervisor.init(children, strategy: :rest_for_one, max_restarts: 5, max_seconds: 10)
  end
end
