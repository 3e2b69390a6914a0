defmodule ArqonBrain.Store.Book do
  @moduledoc """
  What the store knows, what of it Valkey has not got yet, and the commands that change that. Pure.

  In Valkey: a hash `<prefix>:revocations` with a field for each, a hash `<prefix>:settings` whose fields sort like the
  settings in them, so that an old one never overwrites a new one, a key `<prefix>:room:<subject>` for each generation,
  which runs out by itself, and a hash `<prefix>:module:<sha256>` with the pieces of each module of a policy. Another Brain may have newer
  settings, so that a module that is named no more is not deleted: it runs out in a week, unless somebody writes it again.
  """

  alias ArqonBrain.{Digest, Json, Metrics}

  @revocations_max 10_000
  @generations_max 10_000
  # Numbers go on from the one that is stored: far from the end of 64 bits.
  @generation_max 0x1FFFFFFFFFFFFF
  @time_max 0xFFFFFFFFFFFFFFFF
  # A Brain that restarts within this time finds its rooms under the generations they had.
  @generation_ms 7 * 24 * 3_600_000
  # That a rollback may still want: 32 policies with 8 releases.
  @modules_max 256
  # Of a module in Valkey; a reply has at most a MiB in one piece.
  @piece_bytes 512 * 1024

  defstruct prefix: "",
            revocations: %{},
            settings: nil,
            dirty: MapSet.new(),
            stale: [],
            generations: %{},
            modules: %{},
            unwritten: [],
            unnamed: [],
            flushing?: false

  @typedoc "As in the control protocol; what is not set is empty."
  @type revocation :: %{
          :tenant => binary,
          :user => binary,
          :session => binary,
          :jti => binary,
          :at_ms => non_neg_integer,
          :until_ms => non_neg_integer,
          optional(atom) => term
        }

  @type t :: %__MODULE__{}

  @type written :: [:plain | {:generation, binary, pos_integer, [pid]}]

  @doc "An empty one."
  @spec new(binary) :: t
  def new(prefix), do: %__MODULE__{prefix: prefix}

  @doc "How many revocations it holds at most."
  @spec revocations_max() :: pos_integer
  def revocations_max, do: @revocations_max

  @doc "The key of the hash of revocations."
  @spec revocations_key(t) :: binary
  def revocations_key(book), do: book.prefix <> ":revocations"

  @doc "The key of the hash of settings."
  @spec settings_key(t) :: binary
  def settings_key(book), do: book.prefix <> ":settings"

  @doc "Merges revocations; what is news has to be written."
  @spec revoke(t, [revocation], non_neg_integer) :: t
  def revoke(book, revocations, wall_ms) do
    Enum.reduce(revocations, book, fn revocation, book ->
      merge(book, field(revocation), {revocation.at_ms, revocation.until_ms}, wall_ms)
    end)
  end

  defp merge(book, field, {at_ms, until_ms}, wall_ms) do
    {old_at, old_until} = old = Map.get(book.revocations, field, {0, 0})
    new = {max(at_ms, old_at), max(until_ms, old_until)}

    cond do
      new == old or elem(new, 1) <= wall_ms -> book
      full?(book, field) -> make_place(book, field, new, wall_ms)
      true -> learn(book, field, new)
    end
  end

  defp full?(book, field),
    do: map_size(book.revocations) >= @revocations_max and not is_map_key(book.revocations, field)

  defp make_place(book, field, new, wall_ms) do
    book = expire(book, wall_ms)

    if full?(book, field) do
      Metrics.count(:store_dropped_total, kind: :revocations)
      book
    else
      learn(book, field, new)
    end
  end

  defp learn(book, field, times) do
    dirty = MapSet.put(book.dirty, {:revocation, field})
    %{book | revocations: Map.put(book.revocations, field, times), dirty: dirty}
  end

  defp expire(book, wall_ms) do
    {gone, kept} =
      Enum.split_with(book.revocations, fn {_field, {_at, until_ms}} -> until_ms <= wall_ms end)

    gone = Enum.map(gone, &elem(&1, 0))
    dirty = Enum.reduce(gone, book.dirty, &MapSet.delete(&2, {:revocation, &1}))
    stale = Enum.map(gone, &{revocations_key(book), &1}) ++ book.stale

    # What is forgotten here is found when Valkey is read again; without Valkey nobody ever takes it away.
    stale = Enum.take(stale, @revocations_max)
    %{book | revocations: Map.new(kept), dirty: dirty, stale: stale}
  end

  @doc "Takes encoded settings if they win."
  @spec set(t, binary) :: t
  def set(book, settings) do
    if book.settings == nil or rank(settings) > rank(book.settings),
      do: %{book | settings: settings, dirty: MapSet.put(book.dirty, :settings)},
      else: book
  end

  # The higher `(version, fnv of the encoded message)` wins; as texts of equal length they sort the same.
  defp rank(settings) do
    digits = &(&1 |> Integer.to_string() |> String.pad_leading(20, "0"))
    digits.(version(settings)) <> ":" <> digits.(Digest.fnv(settings))
  end

  # Field 1, which comes first; zero is left out.
  defp version(<<0x08, rest::binary>>), do: varint(rest, 0, 0)
  defp version(_settings), do: 0

  defp varint(<<1::1, low::7, rest::binary>>, shift, sum) when shift < 63,
    do: varint(rest, shift + 7, sum + Bitwise.bsl(low, shift))

  defp varint(<<0::1, low::7, _rest::binary>>, shift, sum), do: sum + Bitwise.bsl(low, shift)
  defp varint(_not_one, _shift, _sum), do: 0

  @doc "Remembers that somebody waits for the generation of a room."
  @spec generation(t, binary, pos_integer, pid) :: t
  def generation(book, subject, proposed, pid) do
    case book.generations do
      %{^subject => {drop?, {old, pids}}} ->
        waiting = {drop?, {max(old, proposed), Enum.uniq([pid | pids])}}
        put_in(book.generations[subject], waiting)

      %{^subject => {true, nil}} ->
        put_in(book.generations[subject], {true, {proposed, [pid]}})

      generations when map_size(generations) >= @generations_max ->
        Metrics.count(:store_dropped_total, kind: :generation)
        book

      _new ->
        put_in(book.generations[subject], {false, {proposed, [pid]}})
    end
  end

  @doc "Remembers to forget the generation of a room; nobody waits for it any more."
  @spec drop(t, binary) :: t
  def drop(book, subject) do
    if map_size(book.generations) >= @generations_max and
         not is_map_key(book.generations, subject) do
      Metrics.count(:store_dropped_total, kind: :drop)
      book
    else
      put_in(book.generations[subject], {true, nil})
    end
  end

  @doc "Takes a module that settings name."
  @spec put_module(t, binary, binary) :: t
  def put_module(book, module, bytes) do
    unwritten = [module | List.delete(book.unwritten, module)]
    unnamed = List.delete(book.unnamed, module)
    modules = Map.put(book.modules, module, bytes)
    %{book | modules: modules, unwritten: unwritten, unnamed: unnamed}
  end

  @doc "Forgets modules that settings name no more."
  @spec drop_modules(t, [binary]) :: t
  def drop_modules(book, modules) do
    known = Enum.filter(modules, &is_map_key(book.modules, &1))

    %{
      book
      | modules: Map.drop(book.modules, modules),
        unwritten: book.unwritten -- modules,
        unnamed: Enum.take(known ++ book.unnamed, @modules_max)
    }
  end

  @doc "The command that reads a module."
  @spec read_module(t, binary) :: [iodata]
  def read_module(book, module), do: ["HGETALL", module_key(book, module)]

  @doc "The bytes of a module, from the reply to that command; `nil` if it is not there, or no module."
  @spec module([binary] | term) :: binary | nil
  def module([_ | _] = reply) do
    pieces = reply |> Enum.chunk_every(2) |> Map.new(&List.to_tuple/1)
    pieces = for at <- 0..(map_size(pieces) - 1), do: pieces[Integer.to_string(at)]
    if Enum.all?(pieces, &is_binary/1), do: IO.iodata_to_binary(pieces)
  end

  def module(_reply), do: nil

  defp module_key(book, module),
    do: book.prefix <> ":module:" <> Base.encode16(module, case: :lower)

  # Large: one in a batch.
  defp module_commands(%{unwritten: [module | rest]} = book) do
    key = module_key(book, module)
    write = ["HSET", key | pieces(Map.fetch!(book.modules, module), 0)]
    {[{write, :plain}, {["PERSIST", key], :plain}], %{book | unwritten: rest}}
  end

  defp module_commands(%{unnamed: [_ | _] = unnamed} = book) do
    week = Integer.to_string(@generation_ms)
    commands = for module <- unnamed, do: {["PEXPIRE", module_key(book, module), week], :plain}
    {commands, %{book | unnamed: []}}
  end

  defp module_commands(book), do: {[], book}

  defp pieces(<<piece::binary-size(@piece_bytes), rest::binary>>, at) when rest != "",
    do: [Integer.to_string(at), piece | pieces(rest, at + 1)]

  defp pieces(piece, at), do: [Integer.to_string(at), piece]

  @doc "What a subscriber is told."
  @spec loaded(t, non_neg_integer) :: %{revocations: [revocation], settings: binary | nil}
  def loaded(book, wall_ms) do
    revocations =
      for {field, {at_ms, until_ms}} <- book.revocations, until_ms > wall_ms do
        [tenant, user, session, jti] = parts(field)

        %{
          tenant: tenant,
          user: user,
          session: session,
          jti: jti,
          at_ms: at_ms,
          until_ms: until_ms
        }
      end

    %{revocations: revocations, settings: book.settings}
  end

  @doc "Merges what Valkey has; what is here and not there has to be written."
  @spec load(t, [{binary, binary}], [{binary, binary}], non_neg_integer) :: t
  def load(book, revocations, settings, wall_ms) do
    {readable, unreadable} =
      revocations |> Enum.map(&read/1) |> Enum.split_with(&match?({_field, {_at, _until}}, &1))

    Metrics.count(:store_dropped_total, [kind: :unreadable], length(unreadable))

    all = MapSet.new(Map.keys(book.revocations), &{:revocation, &1})
    unwritten = Map.keys(book.modules)
    book = %{book | dirty: MapSet.put(all, :settings), stale: [], unwritten: unwritten}

    book =
      Enum.reduce(readable, book, fn {field, times}, book ->
        book = merge(book, field, times, wall_ms)
        dirty? = book.revocations[field] not in [nil, times]
        update_dirty(book, {:revocation, field}, dirty?)
      end)

    expired =
      for {field, {_at, until_ms}} <- readable,
          until_ms <= wall_ms,
          do: {revocations_key(book), field}

    load_settings(%{expire(book, wall_ms) | stale: expired}, settings)
  end

  defp update_dirty(book, item, true), do: %{book | dirty: MapSet.put(book.dirty, item)}
  defp update_dirty(book, item, false), do: %{book | dirty: MapSet.delete(book.dirty, item)}

  defp load_settings(book, []), do: update_dirty(book, :settings, book.settings != nil)

  defp load_settings(book, fields) do
    {best, stored} = Enum.max(fields)
    wins? = rank(stored) == best
    book = if wins?, do: set(book, stored), else: book
    old = for {field, _value} <- fields, field != best, do: {settings_key(book), field}
    book = update_dirty(book, :settings, book.settings != nil and book.settings != stored)
    %{book | stale: old ++ book.stale}
  end

  @doc "Some commands, what their replies mean, and the book without what they write."
  @spec batch(t, pos_integer) :: {[[iodata]], written, t}
  def batch(book, most) do
    {stale, stale_left} = Enum.split(book.stale, most)
    dirty = Enum.take(book.dirty, most)
    generations = book.generations |> Enum.take(most) |> Map.new()

    commands =
      Enum.map(stale, fn {key, field} -> {["HDEL", key, field], :plain} end) ++
        Enum.map(dirty, &{write(book, &1), :plain}) ++
        Enum.flat_map(generations, &generation_commands(book, &1))

    {module_commands, book} = module_commands(book)
    {commands, written} = Enum.unzip(commands ++ module_commands)

    book = %{
      book
      | stale: stale_left,
        dirty: MapSet.difference(book.dirty, MapSet.new(dirty)),
        generations: Map.drop(book.generations, Map.keys(generations))
    }

    {commands, written, book}
  end

  defp write(book, :settings),
    do: ["HSET", settings_key(book), rank(book.settings), book.settings]

  defp write(book, {:revocation, field}) do
    {at_ms, until_ms} = Map.fetch!(book.revocations, field)
    ["HSET", revocations_key(book), field, Json.encode(at_ms: at_ms, until_ms: until_ms)]
  end

  defp generation_commands(book, {subject, {drop?, waiting}}) do
    key = book.prefix <> ":room:" <> subject
    drop = if drop?, do: [{["DEL", key], :plain}], else: []

    case waiting do
      nil ->
        drop

      {proposed, pids} ->
        proposed_text = Integer.to_string(proposed)

        drop ++
          [
            {["SET", key, proposed_text, "NX", "PX", Integer.to_string(@generation_ms)], :plain},
            {["PEXPIRE", key, Integer.to_string(@generation_ms)], :plain},
            {["GET", key], {:generation, subject, proposed, pids}}
          ]
    end
  end

  @doc "The generations that the replies tell, and the errors among them."
  @spec answers(written, [ArqonBrain.Store.Resp.reply()]) ::
          {[{pid, binary, pos_integer}], [binary]}
  def answers(written, replies) do
    pairs = Enum.zip(written, replies)

    answers =
      for {{:generation, subject, proposed, pids}, reply} <- pairs,
          generation = stored(reply, proposed),
          pid <- pids,
          do: {pid, subject, generation}

    {answers, for({_written, {:error, reason}} <- pairs, do: reason)}
  end

  # What is no number was not written by a Brain; the room has the proposed one then.
  defp stored(reply, proposed) when is_binary(reply) and byte_size(reply) <= 20 do
    case Integer.parse(reply) do
      {generation, ""} when generation in 1..@generation_max -> generation
      _other -> proposed
    end
  end

  defp stored(_reply, proposed), do: proposed

  # Readable for a person with a command line; sessions are bytes.
  defp field(revocation) do
    session = Base.encode16(revocation.session, case: :lower)

    IO.iodata_to_binary(
      Json.encode([revocation.tenant, revocation.user, session, revocation.jti])
    )
  end

  defp parts(field) do
    {:ok, [tenant, user, session, jti]} = Json.decode(field)
    [tenant, user, Base.decode16!(session, case: :lower), jti]
  end

  defp read({field, value}) do
    with {:ok, [tenant, user, session, jti]} <- Json.decode(field),
         true <- Enum.all?([tenant, user, session, jti], &is_binary/1),
         {:ok, _bytes} <- Base.decode16(session, case: :lower),
         {:ok, %{"at_ms" => at_ms, "until_ms" => until_ms}}
         when at_ms in 0..@time_max and until_ms in 0..@time_max <-
           Json.decode(value) do
      {field, {at_ms, until_ms}}
    else
      _other -> {field, :unreadable}
    end
  end
end
