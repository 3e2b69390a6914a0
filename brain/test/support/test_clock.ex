defmodule ArqonBrain.TestClock do
  @moduledoc """
  A clock that stands still until somebody moves it, and what a differential test needs besides: waiting until every process has
  worked off everything, and looking at what is known.

  It can be driven over NATS, see `ArqonBrain.TestBrain`. The release does not contain it.
  """

  @behaviour ArqonBrain.Clock

  alias ArqonBrain.{Flow, Rooms}

  @table __MODULE__
  @patience_ms 60_000

  @doc "Makes the clock, in force for the whole virtual machine. The calling process owns it."
  def start(mono_ms \\ 0, wall_ms \\ 1_700_000_000_000) do
    if :ets.whereis(@table) == :undefined, do: :ets.new(@table, [:named_table, :public])
    :ets.delete_all_objects(@table)
    put(mono_ms, wall_ms)
    ArqonBrain.Clock.use_module(__MODULE__)
  end

  defp put(mono_ms, wall_ms), do: :ets.insert(@table, {:now, mono_ms, wall_ms})

  @impl true
  def now do
    [{:now, mono_ms, wall_ms}] = :ets.lookup(@table, :now)
    %{mono_ms: mono_ms, wall_ms: wall_ms}
  end

  @impl true
  def wake_at(tag, mono_ms) do
    :ets.insert(@table, {{self(), tag}, mono_ms})
    :ok
  end

  @doc "Moves the time. Every alarm on the way rings at its own time, and is worked off before the next."
  def advance(mono_ms, wall_ms) do
    settle()

    case next(mono_ms) do
      nil ->
        put(mono_ms, wall_ms)

      {at, _rank, {pid, tag} = key} ->
        :ets.delete(@table, key)
        now = now()
        at = max(at, now.mono_ms)
        put(at, max(wall_ms - (mono_ms - at), 0))
        send(pid, {:clock, tag})
        ping(pid)
        advance(mono_ms, wall_ms)
    end
  end

  @doc "When the next alarm rings."
  def next_alarm do
    alarms = for {{pid, _tag} = key, at} <- :ets.tab2list(@table), alive?(key, pid), do: at
    Enum.min(alarms, fn -> nil end)
  end

  # At the same time the Directory comes first, as in the reference the beacon comes before announcements.
  defp next(upto) do
    alarms =
      for {{pid, _tag} = key, at} <- :ets.tab2list(@table), at <= upto, alive?(key, pid) do
        {at, if(pid == Process.whereis(Flow.name(:directory)), do: 0, else: 1), key}
      end

    Enum.min(alarms, fn -> nil end)
  end

  defp alive?(key, pid) do
    alive = Process.alive?(pid)
    if not alive, do: :ets.delete(@table, key)
    alive
  end

  @doc "Waits until no message waits anywhere."
  def settle, do: settle(System.monotonic_time(:millisecond) + @patience_ms)

  defp settle(deadline, looks \\ 0) do
    cond do
      Flow.idle?() ->
        :ok

      System.monotonic_time(:millisecond) > deadline ->
        raise "the Brain is still at work after #{@patience_ms} ms"

      # Most often it is done at once; if not, the processor is left to those who work.
      looks < 100 ->
        :erlang.yield()
        settle(deadline, looks + 1)

      true ->
        receive do
        after
          1 -> settle(deadline, looks)
        end
    end
  end

  # A system message, answered behind everything that came before it.
  defp ping(pid) do
    :sys.statistics(pid, :get)
  catch
    :exit, _gone -> :ok
  end

  @doc "Whether a room has a process, for tests."
  def room?(subject), do: Rooms.whereis(subject) != nil
end
