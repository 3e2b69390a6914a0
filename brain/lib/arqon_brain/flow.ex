defmodule ArqonBrain.Flow do
  @moduledoc """
  Messages between the processes of the Brain, with a count of those that wait.

  A mailbox has no bound of its own: who sends something that is repaired uses `offer/3`, which refuses when too many wait.
  The count is up to date even while the receiver is busy, and costs one atomic step. Receivers get `{:flow, message}` and call
  `done/1` behind it. The Directory gets `{:flow, message, now}` with the time when it was sent: it judges who is alive, and that
  a message waited before it says nothing about its sender.
  """

  alias ArqonBrain.Clock

  @type address :: :directory | :sync | {:shard, non_neg_integer} | {:room, pid}

  @key {__MODULE__, :counts}
  @link {__MODULE__, :link}
  @waiting_max 10_000
  # So many more find place if they are urgent.
  @urgent_more 10_000

  # Those processes' modules use this one.
  @directory_name Module.concat(["ArqonBrain", "Directory"])
  @sync_name Module.concat(["ArqonBrain", "Presence", "Sync"])
  @shard_name Module.concat(["ArqonBrain", "Presence", "Shard"])

  # Slots: everything that waits, Directory, sync, then the shards. Rooms count only into the first.
  @all 1
  @directory 2
  @sync 3
  @shards 4

  @doc "Makes the counts, all of them zero."
  @spec new(pos_integer) :: :ok
  def new(shards), do: :persistent_term.put(@key, :atomics.new(@shards + shards, signed: true))

  @doc "Remembers whether the spine can be reached, for a Directory that starts again."
  @spec link(boolean) :: :ok
  def link(up), do: :persistent_term.put(@link, up)

  @doc "Whether the spine could be reached when it was last said."
  @spec link?() :: boolean
  def link?, do: :persistent_term.get(@link, false)

  @doc "The name under which a process is registered."
  @spec name(address) :: atom
  def name(:directory), do: @directory_name
  def name(:sync), do: @sync_name
  def name({:shard, index}), do: Module.concat(@shard_name, Integer.to_string(index))

  @doc "Sends a message that must not be dropped. If the process is gone, the message is, too."
  @spec send(address, term) :: :ok
  def send(address, message), do: deliver(address, slot(address), message)

  @doc """
  Sends a message that may be dropped, because digests repair it, or (what is urgent) its sender says it again. What is urgent still
  finds place where nothing else does.
  """
  @spec offer(address, term, :urgent | :usual) :: :ok | :full
  def offer(address, message, rank \\ :usual) do
    slot = slot(address)
    most = if rank == :urgent, do: @waiting_max + @urgent_more, else: @waiting_max

    if :atomics.get(counts(), slot) < most,
      do: deliver(address, slot, message),
      else: :full
  end

  @doc "A message from `send/2` or `offer/2` has been worked upon, with everything it caused having been sent."
  @spec done(address) :: :ok
  def done(address), do: add(slot(address), -1)

  @doc """
  The calling process takes the name of the address, with an empty mailbox, whatever its predecessor has left. Called in `init/1`
  instead of the option `name`: a message that comes between the name and the count of none would be worked off and not have
  been counted.
  """
  @spec register(address) :: :ok
  def register(address) do
    slot = slot(address)
    left = :atomics.exchange(counts(), slot, 0)
    :atomics.sub(counts(), @all, left)
    Process.register(self(), name(address))
    :ok
  end

  @doc "Whether no message waits anywhere."
  @spec idle?() :: boolean
  def idle?, do: :atomics.get(counts(), @all) <= 0

  defp deliver(address, slot, message) do
    case whereis(address) do
      nil ->
        :ok

      pid ->
        add(slot, 1)
        Kernel.send(pid, envelope(address, message))
        :ok
    end
  end

  defp envelope(:directory, message), do: {:flow, message, Clock.now()}
  defp envelope(_address, message), do: {:flow, message}

  defp whereis({:room, pid}), do: pid
  defp whereis(address), do: Process.whereis(name(address))

  defp add(@all, n), do: :atomics.add(counts(), @all, n)

  defp add(slot, n) do
    :atomics.add(counts(), @all, n)
    :atomics.add(counts(), slot, n)
  end

  defp slot(:directory), do: @directory
  defp slot(:sync), do: @sync
  defp slot({:shard, index}), do: @shards + index
  defp slot({:room, _pid}), do: @all

  defp counts, do: :persistent_term.get(@key)
end
