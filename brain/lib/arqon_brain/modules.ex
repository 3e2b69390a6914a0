defmodule ArqonBrain.Modules do
  @moduledoc """
  Modules of policies, by the SHA-256 of their bytes: what is held, and how what is missing is fetched, part by part, from whoever has
  it. Pure; `docs/control.md`, "Modules".
  """

  @part_bytes_max 24 * 1024
  @answer_within_ms 1_000
  # Twice as long each time until something arrives or other modules are wanted.
  @rest_ms 250
  @rests_doubled_max 6
  # Of a holder at one offset, if it is silent.
  @turns 3

  @type hash :: binary
  @typedoc "A Shield, or all Brains at once."
  @type holder :: {:shield, binary} | :brains
  @type want :: %{to: binary, module: hash, offset: non_neg_integer}
  @type part :: %{module: hash, offset: non_neg_integer, data: binary}
  @type t :: %__MODULE__{}

  # `wanted` in order, with sizes; `nowhere`: what nobody had, since the last rest; `rests`: since something arrived.
  defstruct held: %{}, wanted: [], fetch: nil, nowhere: MapSet.new(), rest_until: 0, rests: 0

  @doc "Takes what settings name, in order: all else is forgotten, and told."
  @spec want(t, [{hash, pos_integer}]) :: {[hash], t}
  def want(modules, wanted) do
    hashes = Enum.map(wanted, &elem(&1, 0))
    {held, gone} = Map.split(modules.held, hashes)
    fetch = modules.fetch
    fetch = if fetch && {fetch.module, fetch.size} in wanted, do: fetch

    {Map.keys(gone),
     %{
       modules
       | held: held,
         wanted: wanted,
         fetch: fetch,
         nowhere: MapSet.new(),
         rest_until: 0,
         rests: 0
     }}
  end

  @doc "What is wanted and not held."
  @spec missing(t) :: [hash]
  def missing(modules),
    do: for({module, _size} <- modules.wanted, not is_map_key(modules.held, module), do: module)

  @doc "The answer to a want; `nil` if all Brains were asked and this one has nothing there."
  @spec answer(t, want) :: part | nil
  def answer(modules, %{to: to, module: module, offset: offset}) do
    bytes = Map.get(modules.held, module, "")

    data =
      if offset < byte_size(bytes),
        do: binary_part(bytes, offset, min(byte_size(bytes) - offset, @part_bytes_max)),
        else: ""

    if data == "" and to == "", do: nil, else: %{module: module, offset: offset, data: data}
  end

  @doc """
  Takes a part from a Shield or Brain: `{:complete, bytes, modules}` with the last one, `{:malformed, modules}` if it is not what the
  module can be, else `{:ok, modules}`. Only what was asked for last is taken.
  """
  @spec take(t, {:shield | :brain, binary}, part) ::
          {:ok | :malformed, t} | {:complete, binary, t}
  def take(%{fetch: %{asked: {holder, _until}} = fetch} = modules, from, part) do
    awaited? = fetch.module == part.module and fetch.have == part.offset and from?(holder, from)

    cond do
      not awaited? -> {:ok, modules}
      part.data == "" -> {:ok, turn(modules, holder, @turns)}
      true -> add(modules, holder, part.data)
    end
  end

  def take(modules, _from, _part), do: {:ok, modules}

  defp from?(:brains, {:brain, _name}), do: true
  defp from?(holder, from), do: holder == from

  defp turn(modules, holder, turns) do
    fetch = modules.fetch
    %{modules | fetch: %{fetch | asked: nil, tried: Map.put(fetch.tried, holder, turns)}}
  end

  defp add(%{fetch: fetch} = modules, holder, data) do
    have = fetch.have + byte_size(data)

    cond do
      byte_size(data) > @part_bytes_max or have > fetch.size ->
        refuse(modules, holder)

      have < fetch.size ->
        # The same one again: it has it. Who sent what the module cannot be has no turn at another offset, either.
        tried = Map.filter(fetch.tried, fn {_holder, turns} -> turns > @turns end)
        parts = [fetch.parts, data]
        fetch = %{fetch | have: have, parts: parts, asked: {holder, 0}, tried: tried}
        {:ok, %{modules | fetch: fetch}}

      true ->
        bytes = IO.iodata_to_binary([fetch.parts, data])
        complete(modules, holder, bytes)
    end
  end

  defp complete(%{fetch: %{module: module}} = modules, holder, bytes) do
    if :crypto.hash(:sha256, bytes) == module,
      do: {:complete, bytes, hold(%{modules | fetch: nil}, module, bytes)},
      else: refuse(modules, holder)
  end

  defp hold(modules, module, bytes),
    do: %{modules | held: Map.put(modules.held, module, bytes), rests: 0}

  # Whose part was wrong is not known: nothing is kept.
  defp refuse(modules, holder) do
    modules = turn(modules, holder, @turns + 1)
    {:malformed, %{modules | fetch: %{modules.fetch | have: 0, parts: []}}}
  end

  @doc "Takes what was written down. Says whether it was missing and is what its name says."
  @spec stored(t, hash, binary) :: {boolean, t}
  def stored(modules, module, bytes) do
    wanted? =
      {module, byte_size(bytes)} in modules.wanted and not is_map_key(modules.held, module)

    if wanted? and :crypto.hash(:sha256, bytes) == module do
      fetch = modules.fetch
      fetch = if fetch && fetch.module != module, do: fetch
      {true, hold(%{modules | fetch: fetch}, module, bytes)}
    else
      {false, modules}
    end
  end

  @doc "Whom to ask for what, if it is time to: `{holder, want, modules}`, or `{nil, modules}`."
  @spec ask(t, [holder], non_neg_integer) :: {holder, want, t} | {nil, t}
  def ask(modules, holders, mono_ms) do
    case begin(modules, mono_ms) do
      %{fetch: nil} = modules -> {nil, modules}
      modules -> ask_for(modules, holders, mono_ms)
    end
  end

  defp ask_for(%{fetch: %{asked: {_holder, until}}} = modules, _holders, mono_ms)
       when until > mono_ms,
       do: {nil, modules}

  defp ask_for(%{fetch: fetch} = modules, holders, mono_ms) do
    {same, tried} =
      case fetch.asked do
        # It was asked for the part before, and had it.
        {holder, 0} -> {holder, fetch.tried}
        {silent, _until} -> {nil, Map.update(fetch.tried, silent, 1, &(&1 + 1))}
        nil -> {nil, fetch.tried}
      end

    case same || next(tried, holders) do
      nil ->
        nowhere = MapSet.put(modules.nowhere, fetch.module)
        ask(%{modules | fetch: nil, nowhere: nowhere}, holders, mono_ms)

      holder ->
        fetch = %{fetch | asked: {holder, mono_ms + @answer_within_ms}, tried: tried}
        want = %{to: name(holder), module: fetch.module, offset: fetch.have}
        {holder, want, %{modules | fetch: fetch}}
    end
  end

  # The first of those that had the fewest turns.
  defp next(tried, holders) do
    holders
    |> Enum.filter(&(Map.get(tried, &1, 0) < @turns))
    |> Enum.min_by(&Map.get(tried, &1, 0), fn -> nil end)
  end

  defp name({:shield, name}), do: name
  defp name(:brains), do: ""

  # Begins with the next that is missing, unless one is on its way or nobody is to be asked.
  defp begin(%{fetch: nil, rest_until: until} = modules, mono_ms) when until <= mono_ms do
    missing =
      for {module, size} <- modules.wanted,
          not is_map_key(modules.held, module),
          do: {module, size}

    case Enum.find(missing, fn {module, _size} -> module not in modules.nowhere end) do
      {module, size} ->
        fetch = %{module: module, size: size, have: 0, parts: [], asked: nil, tried: %{}}
        %{modules | fetch: fetch}

      nil ->
        rest(modules, mono_ms)
    end
  end

  defp begin(modules, _mono_ms), do: modules

  defp rest(modules, mono_ms) do
    if MapSet.size(modules.nowhere) == 0 do
      modules
    else
      rest_until = mono_ms + Bitwise.bsl(@rest_ms, modules.rests)
      rests = min(modules.rests + 1, @rests_doubled_max)
      %{modules | nowhere: MapSet.new(), rest_until: rest_until, rests: rests}
    end
  end

  @doc "When to ask again; `nil` if nothing is missing."
  @spec next_timeout(t) :: non_neg_integer | nil
  def next_timeout(%{fetch: %{asked: {_holder, until}}}), do: until
  def next_timeout(%{fetch: %{}}), do: 0
  def next_timeout(modules), do: if(missing(modules) != [], do: modules.rest_until)
end
