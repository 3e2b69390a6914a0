defmodule ArqonBrain.Directory.Operate do
  @moduledoc """
  What operators ask of a Brain, and what all Shields and Brains hold alike.
  """

  import ArqonBrain.Directory.State, only: [count: 3, count: 4, out: 2, publish: 3]

  alias ArqonBrain.{Clock, LeaseTable, Modules, Names, Orders, Revocations, Settings, Shared}
  alias ArqonBrain.Directory.State
  alias ArqonBrain.Wire.{Message, Pages}

  @version_max 0xFFFFFFFFFFFFFFFF
  # SHA-256.
  @hash_bytes 32

  # Numbers of the error codes.
  @bad_request 102
  @limit_exceeded 108
  @overloaded 113
  @not_found 120
  @conflict 121

  @typedoc "Who asks: Shield, instance, number of its question."
  @type asker :: {binary, non_neg_integer, non_neg_integer}

  @doc "Takes a question that was put to this Brain."
  @spec ask(State.t(), binary, non_neg_integer, map, Clock.now()) :: State.t()
  def ask(state, from, instance, %{id: id, kind: kind}, now) do
    asker = {from, instance, id}

    case question(state, asker, kind, now) do
      {:answer, state, result} -> answer(state, asker, result)
      # An order, or something a shard knows: it is answered later.
      {:later, state} -> state
      {:refused, code, message} -> refuse(state, asker, code, message)
    end
  end

  @doc "The body of an answer."
  @spec body(asker, {atom, map}) :: {:answer, map}
  def body({_shield, instance, id}, result),
    do: {:answer, %{instance: instance, id: id, result: result}}

  defp answer(state, {shield, _, _} = asker, result) do
    publish(state, Message.shield(shield), body(asker, result))
  end

  defp refuse(state, {shield, instance, id}, code, message) do
    publish(
      state,
      Message.shield(shield),
      {:answer, %{instance: instance, id: id, error: code, message: message}}
    )
  end

  defp bad(what), do: {:refused, @bad_request, "#{what} breaks a rule of its form"}

  defp question(_state, _asker, nil, _now), do: bad("the question")

  defp question(state, asker, {:rooms, page}, now) do
    if page.tenant == "" or Names.tenant?(page.tenant),
      do:
        {:later, State.gather(state, {:rooms, asker}, {:rooms, page}, {asker, page.limit}, now)},
      else: bad("tenant")
  end

  defp question(state, asker, {:members, page}, _now) do
    cond do
      not Names.subject?(page.subject) -> bad("subject")
      page.after != "" and not Names.user?(page.after) -> bad("after")
      true -> {:later, to_shard(state, page.subject, {:members, asker, page})}
    end
  end

  defp question(state, _asker, {:shields, page}, now),
    do: {:answer, state, {:shields, shield_list(state, page.after, now)}}

  defp question(state, _asker, {:settings, _}, _now) do
    {:answer, state, {:settings, state.shared.settings}}
  end

  defp question(state, _asker, {:set, settings}, now), do: set(state, settings, now)
  defp question(state, _asker, {:revoke, revocation}, now), do: revoke(state, revocation, now)

  defp question(state, asker, {:kick, kick}, now) do
    cond do
      kick.user == "" and byte_size(kick.session) != 16 ->
        bad("session")

      kick.user == "" and kick.tenant != "" and not Names.tenant?(kick.tenant) ->
        bad("tenant")

      kick.user == "" ->
        {:later, order(state, asker, {:kick, Map.take(kick, [:tenant, :session, :reason])}, now)}

      not Names.tenant?(kick.tenant) ->
        bad("tenant")

      not Names.user?(kick.user) ->
        bad("user")

      true ->
        {:later, order(state, asker, {:kick, Map.take(kick, [:tenant, :user, :reason])}, now)}
    end
  end

  defp question(state, asker, {:close_room, close}, _now) do
    if Names.subject?(close.subject),
      do: {:later, to_shard(state, close.subject, {:close_room, asker, close})},
      else: bad("subject")
  end

  defp question(state, asker, {:drain, %{shield: shield} = drain}, now) do
    cond do
      not Names.tenant?(shield) ->
        bad("shield")

      not LeaseTable.known?(state.table, shield) ->
        {:refused, @not_found, "no Shield #{shield} was ever heard here"}

      true ->
        {:later, order(state, asker, {:drain, %{reason: drain.reason}}, [shield], now)}
    end
  end

  defp to_shard(state, subject, message) do
    out(state, {:shard, :erlang.phash2(subject, state.shards), message})
  end

  @doc "Sends an order to every Shield that is up. It is answered when it is done."
  @spec order(State.t(), asker, Orders.kind(), Clock.now()) :: State.t()
  def order(state, asker, kind, now) do
    up = for {shield, _} <- LeaseTable.up_list(state.table, now.mono_ms), do: shield
    order(state, asker, kind, up, now)
  end

  defp order(state, asker, {name, _} = kind, shields, now) do
    case Orders.add(state.orders, kind, shields, now.mono_ms) do
      {:ok, id, orders} ->
        count(
          %{state | orders: orders, waiting: Map.put(state.waiting, id, asker)},
          :orders_total,
          kind: name,
          result: :taken
        )

      :full ->
        state
        |> count(:orders_total, kind: name, result: :refused)
        |> refuse(asker, @overloaded, "1024 orders are under way: try again later")
    end
  end

  @doc "An order is over: who asked for it is told."
  @spec order_done(State.t(), Orders.done()) :: State.t()
  def order_done(state, {id, reached, unreached}) do
    case Map.pop(state.waiting, id) do
      {nil, _waiting} ->
        state

      {asker, waiting} ->
        answer(
          %{state | waiting: waiting},
          asker,
          {:order, %{reached: reached, unreached: unreached}}
        )
    end
  end

  @doc "All shards have answered a question."
  @spec answered(State.t(), term, [term], term) :: State.t()
  def answered(state, {:rooms, _asker}, answers, {asker, limit}) do
    # Behind the last room of a shard that has more, that shard is not known.
    ends = for {rooms, true} <- answers, do: List.last(rooms).subject
    known = answers |> Enum.flat_map(&elem(&1, 0)) |> Enum.sort_by(& &1.subject)

    within =
      if ends == [], do: known, else: Enum.take_while(known, &(&1.subject <= Enum.min(ends)))

    {rooms, more} = Pages.fit(:room_info, within, limit)
    answer(state, asker, {:rooms, %{rooms: rooms, more: more or ends != []}})
  end

  def answered(state, {:heartbeat, shield}, answers, digest) do
    sum = Enum.reduce(answers, 0, &ArqonBrain.Digest.add/2)
    if sum == digest, do: state, else: publish(state, Message.shield(shield), {:resync, %{}})
  end

  defp shield_list(state, after_, now) do
    shields =
      for {shield, known} <- Enum.sort(state.table.shields), shield > after_ do
        %{
          shield: shield,
          incarnation: known.incarnation,
          up: LeaseTable.up?(state.table, shield, now.mono_ms),
          silent_ms: max(now.mono_ms - known.silent_since, 0),
          load: Map.get(state.loads, shield)
        }
      end

    {shields, more} = Pages.fit(:shield_info, shields, 0)

    %{
      shields: shields,
      settings: state.shared.settings.version,
      version: state.version,
      degraded: state.degraded,
      more: more
    }
  end

  @doc "Remembers what a Shield says of its work."
  @spec note_load(State.t(), binary, map | nil) :: State.t()
  def note_load(state, _shield, nil), do: state

  def note_load(state, shield, load) do
    loads = Map.put(state.loads, shield, load)
    # Those of Shields that were forgotten go when there are too many.
    loads =
      if map_size(loads) > 2 * state.table.max,
        do: Map.take(loads, Map.keys(state.table.shields)),
        else: loads

    %{state | loads: loads}
  end

  defp set(state, settings, now) do
    present = state.shared.settings.version

    cond do
      not Message.settings?(settings) ->
        bad("the settings")

      settings.version != present ->
        {:refused, @conflict, "the settings have version #{present}, not #{settings.version}"}

      true ->
        settings = %{settings | version: now.wall_ms |> max(present + 1) |> min(@version_max)}
        {:answer, merge_shared(state, [], settings, false, now), {:settings, settings}}
    end
  end

  defp revoke(state, revocation, now) do
    cond do
      not Message.revocation?(revocation) ->
        bad("the revocation")

      revocation.until_ms > now.wall_ms + Revocations.ahead_max_ms() ->
        {:refused, @limit_exceeded, "until_ms is more than 30 days ahead"}

      match?({:full, _}, Revocations.add(state.shared.revocations, revocation, now.wall_ms)) ->
        {:refused, @limit_exceeded, "10000 revocations are in force"}

      true ->
        {:answer, merge_shared(state, [revocation], nil, false, now), {:order, %{}}}
    end
  end

  @doc "Merges what another holds, and answers on `reply` if it asks for ours."
  @spec take_shared(State.t(), map, binary, Clock.now()) :: State.t()
  def take_shared(state, %{pull: pull} = shared, reply, now) do
    state = merge_shared(state, shared.revoked, shared.settings, reply == Message.brains(), now)
    if pull == state.name, do: send_shared(state, reply, ""), else: state
  end

  @doc "Sends all that is held alike; `pull` is asked for what it has."
  @spec send_shared(State.t(), binary, binary) :: State.t()
  def send_shared(state, to, pull) do
    Enum.reduce(Shared.pages(state.shared, pull), state, &publish(&2, to, &1))
  end

  @doc "Merges revocations and settings, and passes on what is new. What came from a Brain was told to all Brains by that one."
  @spec merge_shared(State.t(), [map], map | nil, boolean, Clock.now()) :: State.t()
  def merge_shared(state, revoked, settings, from_brain, now) do
    {news, shared} = Shared.merge(state.shared, revoked, settings, now.wall_ms)
    state = %{state | shared: shared}

    state =
      if news.refused > 0,
        do: count(state, :control_ignored_total, [reason: :revocations], news.refused),
        else: state

    state =
      for body <- Shared.news_pages(news), reduce: state do
        state ->
          state = publish(state, Message.shields(), body)
          if from_brain, do: state, else: publish(state, Message.brains(), body)
      end

    state = if news.settings, do: set_out(state, news.settings), else: state
    if news.revoked == [] and news.settings == nil, do: state, else: out(state, {:write, news})
  end

  # Other settings are in force: rooms and modules follow.
  defp set_out(state, settings) do
    state = out(state, {:shards, {:settings, settings}})
    {gone, modules} = Modules.want(state.modules, Settings.modules(settings))
    state = %{state | modules: modules}
    state = if gone == [], do: state, else: out(state, {:drop_modules, gone})
    read_modules(state)
  end

  @doc "Looks for modules that are missing in what was written down."
  @spec read_modules(State.t()) :: State.t()
  def read_modules(state) do
    case Modules.missing(state.modules) do
      [] -> state
      missing -> out(state, {:read_modules, missing})
    end
  end

  @doc "Answers who asks for a part of a module."
  @spec answer_want(State.t(), Modules.want(), binary) :: State.t() | :malformed
  def answer_want(_state, %{module: module}, _reply) when byte_size(module) != @hash_bytes,
    do: :malformed

  def answer_want(state, want, reply) do
    case Modules.answer(state.modules, want) do
      nil -> state
      part -> publish(state, reply, {:part, part})
    end
  end

  @doc "Takes a part of a module."
  @spec take_part(State.t(), {:shield | :brain, binary}, Modules.part()) :: State.t() | :malformed
  def take_part(_state, _from, %{module: module}) when byte_size(module) != @hash_bytes,
    do: :malformed

  def take_part(state, from, part) do
    case Modules.take(state.modules, from, part) do
      {:ok, modules} ->
        %{state | modules: modules}

      {:complete, bytes, modules} ->
        out(%{state | modules: modules}, {:write_module, part.module, bytes})

      {:malformed, modules} ->
        count(%{state | modules: modules}, :control_ignored_total, reason: :malformed)
    end
  end

  @doc "Asks Shields, and then all Brains, for modules that settings name and that are not here."
  @spec fetch(State.t(), Clock.now()) :: State.t()
  def fetch(%{link_up: false} = state, _now), do: state
  def fetch(%{modules: %{wanted: []}} = state, _now), do: state

  def fetch(state, now) do
    up = for {shield, _} <- LeaseTable.up_list(state.table, now.mono_ms), do: {:shield, shield}

    case Modules.ask(state.modules, up ++ [:brains], now.mono_ms) do
      {nil, modules} ->
        warn(%{state | modules: modules}, state.modules.rests)

      {holder, want, modules} ->
        publish(%{state | modules: modules}, subject(holder), {:want, want})
    end
  end

  # With the first rest all have been asked for all; the others bring nothing new.
  defp warn(%{modules: %{rests: 1} = modules} = state, 0),
    do: out(state, {:nowhere, Modules.missing(modules)})

  defp warn(state, _rests), do: state

  defp subject({:shield, shield}), do: Message.shield(shield)
  defp subject(:brains), do: Message.brains()
end
