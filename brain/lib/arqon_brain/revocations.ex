defmodule ArqonBrain.Revocations do
  @moduledoc """
  Tokens, sessions and users that are not welcome: a grow-only set with expiry.

  Merging keeps the greater of both times of a key, so that order and repetition do not matter. `sum` is kept with the set, so
  that its digest costs nothing.
  """

  alias ArqonBrain.Digest

  @typedoc "A revocation as `ArqonBrain.Wire.Schema` has it."
  @type revocation :: %{
          tenant: binary,
          user: binary,
          session: binary,
          jti: binary,
          at_ms: non_neg_integer,
          until_ms: non_neg_integer
        }
  @type key :: {tenant :: binary, rank :: 0..2, what :: binary}
  @type t :: %__MODULE__{
          entries: %{optional(key) => {at_ms :: non_neg_integer, until_ms :: non_neg_integer}},
          sum: non_neg_integer
        }

  defstruct entries: %{}, sum: 0

  @max 10_000
  @ahead_max_ms 30 * 24 * 3600 * 1000

  @doc "How far ahead a revocation may end."
  @spec ahead_max_ms() :: pos_integer
  def ahead_max_ms, do: @ahead_max_ms

  @doc "Adds one revocation and says whether it was news; `:full` if there are too many."
  @spec add(t, revocation, non_neg_integer) :: {boolean | :full, t}
  def add(set, %{until_ms: until}, wall_ms) when until <= wall_ms, do: {false, set}

  def add(set, revocation, _wall_ms) do
    key = key(revocation)
    old = Map.get(set.entries, key)
    merged = later(old || {0, 0}, {revocation.at_ms, revocation.until_ms})

    cond do
      old == nil and map_size(set.entries) >= @max ->
        {:full, set}

      old == merged ->
        {false, set}

      true ->
        sum = Digest.add(set.sum, hash(key, merged) - if(old, do: hash(key, old), else: 0))
        {true, %{set | entries: Map.put(set.entries, key, merged), sum: sum}}
    end
  end

  defp later({at, until}, {other_at, other_until}),
    do: {max(at, other_at), max(until, other_until)}

  @doc "Forgets what is over. Says whether anything was."
  @spec expire(t, non_neg_integer) :: {boolean, t}
  def expire(set, wall_ms) do
    gone = for {_key, {_at, until}} = entry <- set.entries, until <= wall_ms, do: entry

    sum =
      Enum.reduce(gone, set.sum, fn {key, times}, sum -> Digest.add(sum, -hash(key, times)) end)

    keys = Enum.map(gone, &elem(&1, 0))
    {gone != [], %{set | entries: Map.drop(set.entries, keys), sum: sum}}
  end

  @doc "The revocations in the order of their keys."
  @spec list(t) :: [revocation]
  def list(set),
    do: set.entries |> Enum.sort() |> Enum.map(fn {key, times} -> revocation(key, times) end)

  defp key(%{tenant: tenant, user: user}) when user != "", do: {tenant, 0, user}
  defp key(%{tenant: tenant, session: session}) when session != "", do: {tenant, 1, session}
  defp key(%{tenant: tenant, jti: jti}), do: {tenant, 2, jti}

  defp revocation({tenant, rank, what}, {at_ms, until_ms}) do
    empty = %{tenant: tenant, user: "", session: "", jti: "", at_ms: at_ms, until_ms: until_ms}
    Map.put(empty, elem({:user, :session, :jti}, rank), what)
  end

  defp hash(key, times) do
    %{tenant: tenant, user: user, session: session, jti: jti} = revocation(key, times)
    {at_ms, until_ms} = times

    Digest.mix(
      Digest.fnv(
        <<tenant::binary, 0, user::binary, 0, session::binary, 0, jti::binary, 0, at_ms::64,
          until_ms::64>>
      )
    )
  end
end
