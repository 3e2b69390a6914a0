defmodule ArqonBrain.Directory.State do
  @moduledoc """
  What a Brain knows of Shields and of what all hold alike, and what it wants done. `ArqonBrain.Directory.Machine` decides.
  """

  alias ArqonBrain.{Clock, Modules, Orders, Shared}

  @type output ::
          {:publish, subject :: binary, body :: {atom, map}}
          | {:shard, index :: non_neg_integer, message :: term}
          | {:shards, message :: term}
          | {:sync, shared :: non_neg_integer}
          | {:write, Shared.news()}
          | {:write_module, hash :: binary, bytes :: binary}
          | {:drop_modules, [binary]}
          | {:read_modules, [binary]}
          | {:nowhere, modules :: [binary]}
          | {:count, metric :: atom, labels :: keyword, n :: pos_integer}
  @type t :: %__MODULE__{}

  @enforce_keys [:name, :shards, :table, :sync, :version]
  defstruct [
    :name,
    # How many there are.
    :shards,
    :table,
    # How often Brains compare digests.
    :sync,
    :version,
    shared: %Shared{},
    modules: %Modules{},
    orders: %Orders{},
    # Who waits for which order: Shield, instance, its question.
    waiting: %{},
    # What each Shield last said of its work.
    loads: %{},
    # Why this Brain does less than it should.
    degraded: "",
    link_up: false,
    # Until then absence from our beacon means nothing.
    warm_at: 0,
    beacon_at: 0,
    look_at: 0,
    sync_at: 0,
    # Whose lease runs, as last computed, and as the last beacon listed it; who is shown.
    up: [],
    listed: [],
    visible: %{},
    # When `up` and `visible` have to be computed again; at once if `stale`.
    check_at: nil,
    stale: false,
    # What the shards are asked together: question, how many have not answered, what the others said.
    gathers: %{},
    gathered: 0,
    out: []
  ]

  @gathers_max 1024

  @doc "The outputs so far, in their order, and the state without them."
  @spec take(t) :: {[output], t}
  def take(state), do: {:lists.reverse(state.out), %{state | out: []}}

  @doc "Asks all shards the same: `{:gather, key, seq, question}`. A newer question under the same key replaces an older one."
  @spec gather(t, term, term, term, Clock.now()) :: t
  def gather(state, key, question, about, now) do
    if map_size(state.gathers) >= @gathers_max and not is_map_key(state.gathers, key) do
      count(state, :control_shed_total, kind: :question)
    else
      seq = state.gathered + 1

      gather = %{
        seq: seq,
        left: state.shards,
        answers: [],
        about: about,
        until: now.mono_ms + 10_000
      }

      out(
        %{state | gathered: seq, gathers: Map.put(state.gathers, key, gather)},
        {:shards, {:gather, key, seq, question}}
      )
    end
  end

  @doc "Sends a message, if the spine can be reached."
  @spec publish(t, binary, {atom, map}) :: t
  def publish(%__MODULE__{link_up: false} = state, _subject, _body), do: state
  def publish(state, subject, body), do: out(state, {:publish, subject, body})

  @doc "Counts something."
  @spec count(t, atom, keyword, pos_integer) :: t
  def count(state, metric, labels, n \\ 1), do: out(state, {:count, metric, labels, n})

  @doc "Adds an output."
  @spec out(t, output) :: t
  def out(state, output), do: %{state | out: [output | state.out]}
end
