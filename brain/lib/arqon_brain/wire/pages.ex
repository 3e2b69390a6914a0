defmodule ArqonBrain.Wire.Pages do
  @moduledoc """
  Cuts what is larger than one message into pages. Sizes are estimates from above, the same as in the reference.
  """

  alias ArqonBrain.{RoomState, Slice}
  alias ArqonBrain.Wire.{Message, Protobuf}

  @page Message.page_bytes_max()
  # 256 bytes is the longest subject but for the tenant's 64.
  @subjects_max div(@page, 384)
  @all 0xFFFFFFFFFFFFFFFF

  @doc """
  Bodies of updates of at most a page each, which together merge to all of `rooms`. Cut between counters, so that no page
  removes what another one holds.
  """
  @spec updates([{binary, RoomState.t()}]) :: [{:update, map}]
  def updates(rooms) do
    pages = %{done: [], rooms: [], bytes: 0}

    pages =
      for {subject, state} <- rooms, {shield, slice} <- Enum.sort(state.slices), reduce: pages do
        pages -> slice(pages, subject, shield, slice)
      end

    :lists.reverse(close(pages).done)
  end

  defp close(%{rooms: []} = pages), do: %{pages | bytes: 0}

  defp close(pages) do
    rooms =
      Enum.reduce(pages.rooms, [], fn {subject, slices}, rooms ->
        [%{subject: subject, slices: :lists.reverse(slices)} | rooms]
      end)

    %{pages | done: [{:update, %{rooms: rooms}} | pages.done], rooms: [], bytes: 0}
  end

  defp slice(pages, subject, shield, slice) do
    head = 96 + byte_size(subject) + byte_size(shield) + 22 * length(slice.spans)
    stretch(pages, {subject, shield, slice, head}, 0, Enum.sort(slice.entries))
  end

  defp stretch(pages, {subject, shield, slice, head} = what, from, entries) do
    pages = if pages.bytes + head > div(@page, 2), do: close(pages), else: pages
    {taken, rest, bytes} = take(entries, [], pages.bytes + head)

    upto =
      case rest do
        [] -> @all
        [{counter, _} | _] -> counter - 1
      end

    pages =
      push(
        pages,
        subject,
        to_pb(shield, Slice.part(slice, from, upto, Map.new(taken)), taken),
        bytes
      )

    if rest == [], do: pages, else: pages |> close() |> stretch(what, upto + 1, rest)
  end

  # At least one: an entry always fits a page.
  defp take([], taken, bytes), do: {:lists.reverse(taken), [], bytes}

  defp take([{_, {user, _, meta}} = entry | rest] = all, taken, bytes) do
    size = 64 + byte_size(user) + byte_size(meta)

    if taken != [] and bytes + size > @page do
      {:lists.reverse(taken), all, bytes}
    else
      take(rest, [entry | taken], bytes + size)
    end
  end

  defp push(%{rooms: [{subject, slices} | rooms]} = pages, subject, slice, bytes) do
    %{pages | rooms: [{subject, [slice | slices]} | rooms], bytes: bytes}
  end

  defp push(pages, subject, slice, bytes) do
    %{pages | rooms: [{subject, [slice]} | pages.rooms], bytes: bytes}
  end

  defp to_pb(shield, slice, entries) do
    %{
      shield: shield,
      incarnation: slice.incarnation,
      spans: for({from, to} <- slice.spans, do: %{from: from, to: to}),
      entries:
        for(
          {counter, {user, session, meta}} <- entries,
          do: %{counter: counter, user: user, session: session, meta: meta}
        ),
      members_version: slice.members_version,
      members: slice.members
    }
  end

  @doc "Bodies with the digests of rooms, which come in byte order; `shared` is told on the last page."
  @spec digests([{binary, non_neg_integer}], non_neg_integer) :: [{:digests, map}]
  def digests(rooms, shared) do
    {after_, _bytes, list, done} =
      Enum.reduce(rooms, {"", 0, [], []}, fn {subject, digest}, {after_, bytes, list, done} ->
        room = %{subject: subject, digest: digest}
        size = byte_size(subject) + 16

        case list do
          [%{subject: last} | _] when bytes > @page - 512 ->
            page = %{after: after_, upto: last, rooms: :lists.reverse(list)}
            {last, size, [room], [{:digests, page} | done]}

          _ ->
            {after_, bytes + size, [room | list], done}
        end
      end)

    last = %{after: after_, upto: "", rooms: :lists.reverse(list), shared: shared}
    :lists.reverse(done, [{:digests, last}])
  end

  @doc "Bodies that ask `to` for the state of these rooms."
  @spec pulls(binary, [binary]) :: [{:pull, map}]
  def pulls(to, subjects) do
    for chunk <- Enum.chunk_every(subjects, @subjects_max),
        do: {:pull, %{to: to, subjects: chunk}}
  end

  @doc "Bodies with all that is held alike: settings in the first, `pull` in the last. At least one."
  @spec shared(binary, [map], map | nil) :: [{:shared, map}]
  def shared(pull, revoked, settings) do
    # The settings have at most 24 KiB, so that they always fit.
    size = IO.iodata_length(Protobuf.encode(:shared, %{settings: settings}))

    {list, _size, done} =
      Enum.reduce(revoked, {[], size, []}, fn revocation, {list, size, done} ->
        more = IO.iodata_length(Protobuf.encode(:revocation, revocation)) + 4

        if size + more > @page - 256,
          do: {[revocation], more, [list | done]},
          else: {[revocation | list], size + more, done}
      end)

    [first | rest] = :lists.reverse([list | done])

    pages = [
      %{revoked: :lists.reverse(first), settings: settings}
      | Enum.map(rest, &%{revoked: :lists.reverse(&1)})
    ]

    {before, [last]} = Enum.split(pages, -1)
    Enum.map(before ++ [Map.put(last, :pull, pull)], &{:shared, &1})
  end

  @doc """
  As many messages of the kind `name` as fit one answer, `limit` of them at most (0: any number), and whether some are left.
  At least one, so that whoever asks again behind the last one gets on.
  """
  @spec fit(atom, Enumerable.t(), non_neg_integer) :: {[map], more :: boolean}
  def fit(name, items, limit) do
    Enum.reduce_while(items, {[], 0, @page - 512}, fn item, {taken, count, space} ->
      size = IO.iodata_length(Protobuf.encode(name, item)) + 8

      if (limit == 0 or count < limit) and (size <= space or count == 0),
        do: {:cont, {[item | taken], count + 1, max(space - size, 0)}},
        else: {:halt, {:more, taken}}
    end)
    |> case do
      {:more, taken} -> {:lists.reverse(taken), true}
      {taken, _count, _space} -> {:lists.reverse(taken), false}
    end
  end
end
