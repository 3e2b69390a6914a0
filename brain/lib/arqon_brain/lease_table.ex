defmodule ArqonBrain.LeaseTable do
  @moduledoc """
  Which Shields a Brain knows, which process holds each name, and who is alive.

  What is remembered of a Shield outlives its dots, so that incarnations stay ordered. Times are monotonic milliseconds.
  """

  defmodule Shield do
    @moduledoc """
    What is remembered of one Shield. `instance` is 0 and `lease_until` nil if only another Brain has heard it;
    incarnations below `floor` are given up.
    """
    @type t :: %__MODULE__{
            instance: non_neg_integer,
            incarnation: non_neg_integer,
            floor: non_neg_integer,
            lease_until: non_neg_integer | nil,
            silent_since: non_neg_integer
          }
    @enforce_keys [:instance, :incarnation, :silent_since]
    defstruct [:instance, :incarnation, :silent_since, floor: 0, lease_until: nil]
  end

  @type t :: %__MODULE__{
          lease: non_neg_integer,
          grace: non_neg_integer,
          permanent_down: non_neg_integer,
          max: pos_integer,
          shields: %{optional(binary) => Shield.t()}
        }
  @type greeting :: :accepted | {:higher, non_neg_integer} | {:occupied, non_neg_integer} | :full

  @enforce_keys [:lease, :grace, :permanent_down, :max]
  defstruct [:lease, :grace, :permanent_down, :max, shields: %{}]

  @doc "The answer to a hello."
  @spec hello(t, binary, non_neg_integer, non_neg_integer, non_neg_integer) :: {greeting, t}
  def hello(table, shield, instance, incarnation, now) do
    fresh = %Shield{
      instance: instance,
      incarnation: incarnation,
      lease_until: now + table.lease,
      silent_since: now
    }

    case table.shields do
      %{^shield => known} -> hello_known(table, shield, known, fresh, now)
      _ -> insert(table, shield, fresh, {:accepted, :full})
    end
  end

  defp hello_known(table, shield, known, fresh, now) do
    same = known.instance == fresh.instance

    # A holder that has missed more than a heartbeat is gone; waiting out its lease would only cost time.
    alive = known.lease_until != nil and now + div(table.lease, 2) < known.lease_until
    lowest = if same, do: known.incarnation, else: known.incarnation + 1

    cond do
      not same and known.instance != 0 and alive ->
        {{:occupied, known.incarnation}, table}

      fresh.incarnation < max(lowest, known.floor) ->
        {{:higher, max(known.incarnation, known.floor - 1)}, table}

      true ->
        {:accepted, put(table, shield, %{fresh | floor: known.floor})}
    end
  end

  @doc "Whether the lease belongs to this process and life; extends it."
  @spec extend(t, binary, non_neg_integer, non_neg_integer, non_neg_integer) :: {boolean, t}
  def extend(table, shield, instance, incarnation, now) do
    case table.shields do
      %{
        ^shield =>
          %Shield{
            instance: ^instance,
            incarnation: ^incarnation,
            floor: floor,
            lease_until: until
          } = known
      }
      when incarnation >= floor and until != nil ->
        {true, put(table, shield, %{known | lease_until: now + table.lease, silent_since: now})}

      _ ->
        {false, table}
    end
  end

  @doc "Whether this process holds the name and has taken a newer life than this one."
  @spec moved_on?(t, binary, non_neg_integer, non_neg_integer) :: boolean
  def moved_on?(table, shield, instance, incarnation) do
    case table.shields do
      %{^shield => %Shield{instance: ^instance, incarnation: newer, lease_until: until}} ->
        newer > incarnation and until != nil

      _ ->
        false
    end
  end

  @doc "The highest incarnation seen or given up; 0 if there was none."
  @spec seen(t, binary) :: non_neg_integer
  def seen(table, shield) do
    case table.shields do
      %{^shield => known} -> max(known.incarnation, known.floor - 1)
      _ -> 0
    end
  end

  @doc "Whether the Shield was ever heard of."
  @spec known?(t, binary) :: boolean
  def known?(table, shield), do: is_map_key(table.shields, shield)

  @doc "Another Brain knows this incarnation. Returns whether its dots may be taken."
  @spec rumour(t, binary, non_neg_integer, non_neg_integer) :: {boolean, t}
  def rumour(table, shield, incarnation, now) do
    fresh = %Shield{instance: 0, incarnation: incarnation, silent_since: now}

    case table.shields do
      %{^shield => known} when incarnation > known.incarnation ->
        # Somebody else holds the name now, or the holder took a new life elsewhere.
        {incarnation >= known.floor, put(table, shield, %{fresh | floor: known.floor})}

      %{^shield => known} ->
        {incarnation >= known.floor and incarnation == known.incarnation, table}

      _ ->
        insert(table, shield, fresh, {true, false})
    end
  end

  @doc "Ends a lease: from here on the grace runs."
  @spec bye(t, binary, non_neg_integer) :: t
  def bye(table, shield, now) do
    case table.shields do
      %{^shield => %Shield{lease_until: until} = known} when until != nil ->
        put(table, shield, %{known | lease_until: min(until, now)})

      _ ->
        table
    end
  end

  @doc "Whether its sessions are shown: the lease, then the grace."
  @spec visible?(t, binary, non_neg_integer) :: boolean
  def visible?(table, shield, now), do: runs?(table, shield, now, table.grace)

  @doc "Whether its lease runs."
  @spec up?(t, binary, non_neg_integer) :: boolean
  def up?(table, shield, now), do: runs?(table, shield, now, 0)

  defp runs?(table, shield, now, more) do
    case table.shields do
      %{^shield => %Shield{lease_until: until}} when until != nil -> now < until + more
      _ -> false
    end
  end

  @doc "The Shields whose lease runs, with their incarnations, in byte order."
  @spec up_list(t, non_neg_integer) :: [{binary, non_neg_integer}]
  def up_list(table, now) do
    Enum.sort(
      for {shield, known} <- table.shields,
          up?(table, shield, now),
          do: {shield, known.incarnation}
    )
  end

  @doc "The Shields whose sessions are shown."
  @spec visible_set(t, non_neg_integer) :: %{optional(binary) => true}
  def visible_set(table, now) do
    for {shield, _} <- table.shields, visible?(table, shield, now), into: %{}, do: {shield, true}
  end

  @doc "Gives up Shields that were silent for too long, and says which, in byte order."
  @spec give_up(t, non_neg_integer) :: {[binary], t}
  def give_up(table, now) do
    gone =
      for {shield, known} <- Enum.sort(table.shields),
          known.silent_since + table.permanent_down <= now and known.floor <= known.incarnation,
          do: shield

    table =
      Enum.reduce(gone, table, fn shield, table ->
        known = Map.fetch!(table.shields, shield)
        put(table, shield, %{known | floor: known.incarnation + 1, lease_until: nil})
      end)

    {gone, table}
  end

  @doc "After the Brain itself was deaf, nobody's silence counts."
  @spec forgive(t, non_neg_integer) :: t
  def forgive(table, now) do
    shields =
      Map.new(table.shields, fn
        {shield, known} when known.floor <= known.incarnation ->
          {shield, %{known | silent_since: now}}

        given_up ->
          given_up
      end)

    %{table | shields: shields}
  end

  @doc "When a lease, a grace or a patience ends next; `nil` if nothing does."
  @spec next_timeout(t, non_neg_integer) :: non_neg_integer | nil
  def next_timeout(table, now) do
    for {_, known} <- table.shields, at <- ends(table, known), at > now, reduce: nil do
      next -> min(next, at)
    end
  end

  defp ends(table, known) do
    lease =
      if known.lease_until, do: [known.lease_until, known.lease_until + table.grace], else: []

    if known.floor <= known.incarnation,
      do: [known.silent_since + table.permanent_down | lease],
      else: lease
  end

  defp put(table, shield, known), do: %{table | shields: Map.put(table.shields, shield, known)}

  defp insert(table, shield, fresh, {taken, refused}) do
    case make_place(table) do
      {:ok, table} -> {taken, put(table, shield, fresh)}
      :error -> {refused, table}
    end
  end

  # Forgets one that was given up, if there are too many.
  defp make_place(table) when map_size(table.shields) < table.max, do: {:ok, table}

  defp make_place(table) do
    gone =
      for {shield, known} <- table.shields,
          known.floor > known.incarnation,
          do: {known.silent_since, shield}

    case Enum.sort(gone) do
      [{_, oldest} | _] -> {:ok, %{table | shields: Map.delete(table.shields, oldest)}}
      [] -> :error
    end
  end
end
