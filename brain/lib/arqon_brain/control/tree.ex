defmodule ArqonBrain.Control.Tree do
  @moduledoc """
  What works on control messages: rooms, then the Directory, then the shards and what compares Brains.

  Rooms come first and outlive the others: a shard or Directory that starts again finds them, and asks the Shields for the rest. If
  the Directory dies, the shards go with it: it alone knows which of their slices may be believed.
  """

  use Supervisor

  alias ArqonBrain.{Config, Directory, Flow, Presence, Rooms}

  @typedoc "What all parts are told at their start."
  @type context :: %{
          sender: ArqonBrain.Wire.Message.sender(),
          shards: pos_integer,
          version: binary,
          directory_starts: :atomics.atomics_ref(),
          presence: Config.presence(),
          limits: Config.limits()
        }

  @doc "Starts it under its name."
  @spec start_link(Config.t()) :: Supervisor.on_start()
  def start_link(config), do: Supervisor.start_link(__MODULE__, config, name: __MODULE__)

  @impl true
  def init(config) do
    shards = if config.shards == 0, do: System.schedulers_online(), else: config.shards

    context = %{
      sender: {config.name, instance()},
      shards: shards,
      version: :arqon_brain |> Application.spec(:vsn) |> to_string(),
      directory_starts: :atomics.new(1, signed: false),
      presence: config.presence,
      limits: config.limits
    }

    Flow.new(shards)
    Rooms.Generation.new()
    Presence.Window.new()

    children = [
      {Rooms.Supervisor, context},
      {Directory, context},
      {Presence.Sync, context},
      {Presence.Supervisor, context}
    ]

    Supervisor.init(children, strategy: :rest_for_one, max_restarts: 10, max_seconds: 10)
  end

  # Tells this process from an earlier one of the same name. Never 0, which stands for nobody.
  defp instance do
    <<number::64>> = :crypto.strong_rand_bytes(8)
    max(number, 1)
  end
end
