defmodule ArqonBrain.Writer do
  @moduledoc """
  The side of a Shield that writes its slice of one room, as the Rust agent does: deltas claim the whole stretch of counters
  since the last one.
  """

  alias ArqonBrain.{Slice, Spans}

  defstruct incarnation: 1, counter: 0, sent: 0, removed: [], entries: %{}, version: 0, members: 0

  @doc "Tracks a session, or changes its metadata: a new dot, and the old one is removed."
  def track(w, user, session, meta) do
    w = untrack(w, session)
    counter = w.counter + 1
    %{w | counter: counter, entries: Map.put(w.entries, counter, {user, session, meta})}
  end

  @doc "Removes a session's entry."
  def untrack(w, session) do
    case Enum.find(w.entries, fn {_, {_, s, _}} -> s == session end) do
      nil ->
        w

      {counter, _} ->
        removed =
          if counter <= w.sent, do: Spans.insert(w.removed, counter, counter), else: w.removed

        %{w | entries: Map.delete(w.entries, counter), removed: removed}
    end
  end

  @doc "Sets the number of sockets."
  def members(w, n), do: %{w | counter: w.counter + 1, version: w.counter + 1, members: n}

  @doc "A counter is used by another room."
  def elsewhere(w), do: %{w | counter: w.counter + 1}

  @doc "Takes the delta since the last call."
  def delta(w) do
    entries = Map.filter(w.entries, fn {counter, _} -> counter > w.sent end)
    spans = Spans.insert(w.removed, w.sent + 1, w.counter)

    {Slice.new(w.incarnation, spans, entries, w.version, w.members),
     %{w | sent: w.counter, removed: []}}
  end

  @doc "Everything, as a state."
  def full(w),
    do: Slice.new(w.incarnation, Spans.range(1, w.counter), w.entries, w.version, w.members)

  @doc "The process starts again under a new incarnation, with nobody."
  def restart(w), do: %__MODULE__{incarnation: w.incarnation + 1}
end
