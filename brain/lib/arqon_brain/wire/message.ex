defmodule ArqonBrain.Wire.Message do
  @moduledoc """
  Control messages as values: decoding with every bound checked, and encoding under the name of a sender.

  A message whose envelope is good and whose body breaks a rule decodes with the body `:malformed`: its sender is alive all
  the same. Rooms become `ArqonBrain.RoomState`; an ask keeps its fields, because a wrong one of it has an answer.
  """

  alias ArqonBrain.{Names, RoomState, Slice, Spans}
  alias ArqonBrain.Wire.Protobuf

  @brain "_arqon.brain"
  @brains "_arqon.brains"
  @shields "_arqon.shields"
  @rooms "_arqon.rooms"

  @page_bytes_max 32 * 1024
  @meta_bytes_max 4 * 1024
  @version_bytes_max 64
  @jti_bytes_max 128
  @settings_bytes_max 24 * 1024
  @members_max 0xFFFFFFFF
  @policies_max 32
  @releases_max 8
  @running_max 64
  # SHA-256.
  @hash_bytes 32
  @module_bytes_max 4 * 1024 * 1024
  # All that settings name.
  @modules_bytes_max 64 * 1024 * 1024
  # A full set of spans may be cut at both ends of a page.
  @spans_max Slice.spans_max() + 2

  @type t :: %{
          from: binary,
          instance: non_neg_integer,
          incarnation: non_neg_integer,
          body: {atom, term} | :malformed
        }
  @type sender :: {name :: binary, instance :: non_neg_integer}

  @doc "Shields to every Brain."
  @spec brain() :: binary
  def brain, do: @brain
  @doc "Brains to every Brain."
  @spec brains() :: binary
  def brains, do: @brains
  @doc "Brains to every Shield."
  @spec shields() :: binary
  def shields, do: @shields
  @doc "Brains to whoever wants to know about rooms."
  @spec rooms() :: binary
  def rooms, do: @rooms
  @doc "A Brain to one Shield."
  @spec shield(binary) :: binary
  def shield(name), do: "_arqon.shield." <> name
  @doc "A Brain to the Shields that watch a room."
  @spec presence(binary) :: binary
  def presence(subject), do: "_arqon.presence." <> subject

  @doc "The content of one message that is written, at most: larger things are cut into pages."
  @spec page_bytes_max() :: pos_integer
  def page_bytes_max, do: @page_bytes_max

  @doc "Releases that settings name of one policy, at most."
  @spec releases_max() :: pos_integer
  def releases_max, do: @releases_max

  @doc "Reads a message. `:error` if not even the sender can be told."
  @spec decode(binary) :: {:ok, t} | :error
  def decode(payload) when byte_size(payload) > 2 * @page_bytes_max, do: :error

  def decode(payload) do
    with {:ok, control} <- Protobuf.decode(:control, payload),
         %{from: from, body: {kind, fields}} <- control,
         true <- Names.tenant?(from) do
      {:ok,
       %{
         from: from,
         instance: control.instance,
         incarnation: control.incarnation,
         body: checked(kind, fields)
       }}
    else
      _ -> :error
    end
  end

  @doc "Writes a message of a Brain: its incarnation is 0."
  @spec encode(sender, {atom, map}) :: binary
  def encode({name, instance}, body) do
    IO.iodata_to_binary(Protobuf.encode(:control, %{from: name, instance: instance, body: body}))
  end

  defp checked(kind, fields) do
    case check(kind, fields) do
      {:ok, value} -> {kind, value}
      :error -> :malformed
    end
  end

  # A load is only shown to people: a bad one does not make the heartbeat worthless.
  defp check(:heartbeat, %{load: %{version: version, policies: policies}} = fields) do
    good? = byte_size(version) <= @version_bytes_max and running?(policies)
    {:ok, if(good?, do: fields, else: %{fields | load: nil})}
  end

  defp check(:update, fields), do: all(fields.rooms, &room/1)

  defp check(:digests, fields) do
    if Enum.all?(fields.rooms, &Names.subject?(&1.subject)) do
      {:ok, %{fields | rooms: Map.new(fields.rooms, &{&1.subject, &1.digest})}}
    else
      :error
    end
  end

  defp check(:compare, fields) do
    good? = fn room ->
      Names.subject?(room.subject) and Enum.all?(room.shields, &Names.tenant?/1)
    end

    if Enum.all?(fields.rooms, good?), do: {:ok, fields.rooms}, else: :error
  end

  defp check(:close_refused, fields),
    do: if(Names.subject?(fields.subject), do: {:ok, fields}, else: :error)

  defp check(:pull, fields) do
    if Names.tenant?(fields.to) and Enum.all?(fields.subjects, &Names.subject?/1),
      do: {:ok, fields},
      else: :error
  end

  defp check(:shared, fields) do
    good? =
      (fields.pull == "" or Names.tenant?(fields.pull)) and
        Enum.all?(fields.revoked, &revocation?/1) and
        (fields.settings == nil or settings?(fields.settings))

    if good?, do: {:ok, fields}, else: :error
  end

  defp check(_kind, fields), do: {:ok, fields}

  @doc "Whether the fields of a revocation keep the rules that need no clock."
  @spec revocation?(map) :: boolean
  def revocation?(%{tenant: tenant, user: user, session: session, jti: jti}) do
    whom =
      case {user, session, jti} do
        {user, "", ""} -> Names.user?(user)
        {"", session, ""} -> byte_size(session) == 16
        {"", "", jti} -> byte_size(jti) in 1..@jti_bytes_max
        _ -> false
      end

    whom and Names.tenant?(tenant)
  end

  @doc "Whether settings keep the rules."
  @spec settings?(map) :: boolean
  def settings?(%{rooms: rooms, policies: policies} = settings) do
    Enum.all?(rooms, &room_setting?/1) and policies?(policies) and
      IO.iodata_length(Protobuf.encode(:settings, settings)) <= @settings_bytes_max
  end

  defp room_setting?(room) do
    (room.tenant == "" or Names.tenant?(room.tenant)) and Names.pattern?(room.pattern) and
      room.publish_rate_per_s <= 0xFFFFFFFF
  end

  defp policies?(policies) do
    releases = Enum.flat_map(policies, & &1.releases)

    length(policies) <= @policies_max and
      policies == Enum.uniq_by(policies, & &1.name) and
      Enum.all?(policies, &(Names.tenant?(&1.name) and length(&1.releases) in 1..@releases_max)) and
      Enum.all?(releases, &release?/1) and
      length(Enum.uniq_by(releases, & &1.module)) ==
        length(Enum.uniq_by(releases, &{&1.module, &1.size})) and
      releases |> Enum.map(& &1.size) |> Enum.sum() <= @modules_bytes_max
  end

  defp release?(release) do
    byte_size(release.module) == @hash_bytes and release.size in 1..@module_bytes_max and
      byte_size(release.version) <= @version_bytes_max
  end

  # What a Shield says that it runs.
  defp running?(policies) do
    good? = fn policy ->
      Names.tenant?(policy.name) and byte_size(policy.module) == @hash_bytes and
        byte_size(policy.version) <= @version_bytes_max
    end

    length(policies) <= @running_max and Enum.all?(policies, good?)
  end

  defp room(%{subject: subject, slices: slices}) do
    with true <- Names.subject?(subject),
         {:ok, slices} <- all(slices, &slice/1),
         by_shield = Map.new(slices),
         true <- map_size(by_shield) == length(slices) do
      {:ok, {subject, RoomState.new(by_shield)}}
    else
      _ -> :error
    end
  end

  defp slice(%{spans: spans, members: members} = fields) do
    # A number of sockets, not a weapon against the sum of all of them.
    with true <- Names.tenant?(fields.shield) and members <= @members_max,
         true <-
           length(spans) <= @spans_max and Enum.all?(spans, &(&1.from > 0 and &1.from <= &1.to)),
         spans = Enum.reduce(spans, [], &Spans.insert(&2, &1.from, &1.to)),
         {:ok, entries} <- all(fields.entries, &entry(&1, spans)) do
      {:ok,
       {fields.shield,
        Slice.new(fields.incarnation, spans, Map.new(entries), fields.members_version, members)}}
    else
      _ -> :error
    end
  end

  defp entry(%{counter: counter, user: user, session: session, meta: meta}, spans) do
    good? =
      byte_size(session) == 16 and byte_size(meta) <= @meta_bytes_max and
        Spans.member?(spans, counter) and
        Names.user?(user)

    if good?, do: {:ok, {counter, {user, session, meta}}}, else: :error
  end

  defp all(list, fun), do: all(list, fun, [])

  defp all([], _fun, done), do: {:ok, :lists.reverse(done)}

  defp all([first | rest], fun, done) do
    case fun.(first) do
      {:ok, value} -> all(rest, fun, [value | done])
      :error -> :error
    end
  end
end
