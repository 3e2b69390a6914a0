defmodule ArqonBrain.Store do
  @moduledoc """
  Writes down what should outlive all Shields and Brains together: revocations, settings, modules of policies, generations of rooms.

  With Valkey or without; a Brain works the same with an empty or unreachable one, so nothing here is ever waited for.
  What cannot be written now is merged and kept, within bounds, and written at the next connection, when also everything
  else this process knows is compared with what Valkey has. Every call returns at once.

  The subscriber hears `{:store, {:loaded, %{revocations: [revocation], settings: binary | nil}}}` at each connection to
  Valkey, and at its subscription if there is one; merging makes the order irrelevant. Who asks for a generation hears
  `{:store, {:generation, subject, generation}}`: at once without Valkey; with it when it answers, and never if too many
  wait.
  """

  use GenServer

  require Logger

  alias ArqonBrain.{Health, Metrics}
  alias ArqonBrain.Store.{Book, Resp}

  @casts_max 20_000
  @ping_ms 2_000
  @rest_ms 2_000
  @backoff_first_ms 100
  @backoff_max_ms 2_000
  # Commands in one go; keeps each wait short.
  @batch 300
  @key {__MODULE__, :casts}

  @type revocation :: Book.revocation()

  @type options :: [valkey: ArqonBrain.Config.valkey() | nil]

  @doc "Starts it; it connects by itself."
  @spec start_link(options) :: GenServer.on_start()
  def start_link(options), do: GenServer.start_link(__MODULE__, options, name: __MODULE__)

  @doc "The process that is told what was loaded; the last one that subscribed."
  @spec subscribe(pid) :: :ok
  def subscribe(pid), do: put({:subscribe, pid})

  @doc "Writes revocations; merging keeps the greater of both times."
  @spec put_revocations([revocation]) :: :ok
  def put_revocations(revocations), do: put({:revocations, revocations})

  @doc "Writes the encoded settings, if they win over those that are known here."
  @spec put_settings(binary) :: :ok
  def put_settings(settings), do: put({:settings, settings})

  @doc "Writes a module of a policy."
  @spec put_module(binary, binary) :: :ok
  def put_module(module, bytes), do: put({:module, module, bytes})

  @doc "Lets modules run out that are named no more."
  @spec drop_modules([binary]) :: :ok
  def drop_modules(modules), do: put({:drop_modules, modules})

  @doc "Reads modules; what is there comes as messages `{:store, {:module, hash, bytes}}`. Ask again after `:loaded`."
  @spec read_modules([binary]) :: :ok
  def read_modules(modules), do: put({:read_modules, modules, self()})

  @doc "The generation under which a room is known, or the proposed one. The answer comes as a message."
  @spec generation(binary, pos_integer) :: :ok
  def generation(subject, proposed), do: put({:generation, subject, proposed, self()})

  @doc "Forgets the generation of a room that was closed."
  @spec drop_generation(binary) :: :ok
  def drop_generation(subject), do: put({:drop, subject})

  # Many processes write, and this one may be waiting for Valkey: what waits is counted, as no mailbox has a bound.
  defp put(message) do
    casts = :persistent_term.get(@key, nil)

    cond do
      casts == nil ->
        :ok

      :atomics.add_get(casts, 1, 1) > @casts_max ->
        :atomics.sub(casts, 1, 1)
        Metrics.count(:store_dropped_total, kind: elem(message, 0))

      true ->
        GenServer.cast(__MODULE__, message)
    end
  end

  @impl true
  def init(options) do
    Process.flag(:trap_exit, true)
    casts = :atomics.new(1, signed: true)
    :persistent_term.put(@key, casts)
    valkey = Keyword.fetch!(options, :valkey)
    prefix = if valkey, do: valkey.prefix, else: ""

    state = %{
      casts: casts,
      valkey: valkey,
      conn: nil,
      # Of connections since one has held; what was last said of them.
      failures: 0,
      last_error: nil,
      held?: false,
      subscriber: nil,
      # Modules to be read, and for whom.
      reads: [],
      book: Book.new(prefix)
    }

    if valkey do
      Metrics.set(:store_up, 0)
      Health.set(:valkey, {:degraded, "Valkey was not reached yet"})
      {:ok, state, {:continue, :connect}}
    else
      Metrics.set(:store_up, 1)
      {:ok, state}
    end
  end

  @impl true
  def handle_continue(:connect, state), do: {:noreply, connect(state)}

  @impl true
  def handle_cast(message, state) do
    :atomics.sub(state.casts, 1, 1)
    {:noreply, taken(message, state)}
  end

  @impl true
  def handle_info(:connect, %{conn: nil} = state), do: {:noreply, connect(state)}
  def handle_info(:flush, state), do: {:noreply, flush(state)}
  def handle_info(:read, state), do: {:noreply, read(state)}

  def handle_info({:ping, conn}, %{conn: conn} = state) when conn != nil do
    case Resp.run(conn, [["PING"]]) do
      {:ok, ["PONG"]} -> {:noreply, state |> held() |> ping_later()}
      {:ok, [other]} -> {:noreply, lose(state, "an unexpected answer: #{inspect(other)}")}
      {:error, reason} -> {:noreply, lose(state, reason)}
    end
  end

  def handle_info(_message, state), do: {:noreply, state}

  @impl true
  def terminate(_reason, %{conn: nil}), do: :ok

  # What is known now is still written, as far as that goes before a supervisor would lose its patience.
  def terminate(_reason, state) do
    _rest = write_rest(state.conn, state.book, System.monotonic_time(:millisecond) + @rest_ms)
    Resp.close(state.conn)
  end

  defp write_rest(conn, book, until) do
    with {[_one | _more] = commands, _written, book} <- Book.batch(book, @batch),
         true <- System.monotonic_time(:millisecond) < until,
         {:ok, _replies} <- Resp.run(conn, commands),
         do: write_rest(conn, book, until)
  end

  # -- what others say

  defp taken({:subscribe, pid}, state) do
    if state.valkey == nil or state.conn != nil, do: tell(pid, state.book)
    %{state | subscriber: pid}
  end

  defp taken({:revocations, revocations}, state),
    do: %{state | book: Book.revoke(state.book, revocations, wall_ms())} |> flush_soon()

  defp taken({:settings, settings}, state),
    do: %{state | book: Book.set(state.book, settings)} |> flush_soon()

  defp taken({:module, module, bytes}, state),
    do: %{state | book: Book.put_module(state.book, module, bytes)} |> flush_soon()

  defp taken({:drop_modules, modules}, state),
    do: %{state | book: Book.drop_modules(state.book, modules)} |> flush_soon()

  defp taken({:read_modules, _modules, _pid}, %{conn: nil} = state), do: state

  defp taken({:read_modules, modules, pid}, state) do
    send(self(), :read)
    %{state | reads: Enum.uniq(state.reads ++ for(module <- modules, do: {module, pid}))}
  end

  # Without Valkey nobody else proposes one.
  defp taken({:generation, subject, proposed, pid}, %{valkey: nil} = state) do
    send(pid, {:store, {:generation, subject, proposed}})
    state
  end

  defp taken({:generation, subject, proposed, pid}, state),
    do: %{state | book: Book.generation(state.book, subject, proposed, pid)} |> flush_soon()

  defp taken({:drop, _subject}, %{valkey: nil} = state), do: state

  defp taken({:drop, subject}, state),
    do: %{state | book: Book.drop(state.book, subject)} |> flush_soon()

  defp tell(pid, book), do: send(pid, {:store, {:loaded, Book.loaded(book, wall_ms())}})

  # -- Valkey

  defp connect(state) do
    with {:ok, conn} <- Resp.connect(state.valkey) do
      case load(conn, state.book) do
        {:ok, book} ->
          Metrics.set(:store_up, 1)
          Health.set(:valkey, :ok)
          if state.subscriber, do: tell(state.subscriber, book)
          state = %{state | conn: conn, book: book, held?: false}
          state |> ping_later() |> flush()

        {:error, reason} ->
          Resp.close(conn)
          again(state, reason)
      end
    else
      {:error, reason} -> again(state, reason)
    end
  end

  defp load(conn, book) do
    with {:ok, revocations} <- scan(conn, Book.revocations_key(book), "0", []),
         {:ok, settings} <- scan(conn, Book.settings_key(book), "0", []),
         do: {:ok, Book.load(book, revocations, settings, wall_ms())}
  end

  # In parts, so that no reply is large. More than the bound is not ours.
  defp scan(conn, key, cursor, done) do
    case Resp.run(conn, [["HSCAN", key, cursor, "COUNT", "500"]]) do
      {:ok, [[next, fields]]} when is_binary(next) and is_list(fields) ->
        done = fields ++ done

        cond do
          length(done) > 4 * Book.revocations_max() -> {:error, "#{key} holds too much"}
          next == "0" -> {:ok, done |> Enum.chunk_every(2) |> Enum.map(&List.to_tuple/1)}
          true -> scan(conn, key, next, done)
        end

      {:ok, [{:error, reason}]} ->
        {:error, reason}

      {:ok, _other} ->
        {:error, "an unexpected answer to HSCAN"}

      {:error, reason} ->
        {:error, reason}
    end
  end

  defp again(state, reason) do
    {host, port} = state.valkey.address
    text = "Valkey #{host}:#{port}: #{reason}"
    Metrics.set(:store_up, 0)
    Health.set(:valkey, {:degraded, text})

    if text != state.last_error,
      do: Logger.warning("#{text}; nothing is written down until it is back")

    most = min(@backoff_first_ms * 2 ** min(state.failures, 10), @backoff_max_ms)
    Process.send_after(self(), :connect, div(most, 2) + :rand.uniform(div(most, 2)))
    %{state | conn: nil, failures: state.failures + 1, last_error: text, reads: []}
  end

  defp lose(state, reason) do
    Resp.close(state.conn)
    again(state, reason)
  end

  # Not before: a server that takes connections and no writes would be told and tried many times a second.
  defp held(%{held?: true} = state), do: state

  defp held(state) do
    Logger.info("Valkey: connected")
    %{state | held?: true, failures: 0, last_error: nil}
  end

  defp ping_later(state) do
    Process.send_after(self(), {:ping, state.conn}, @ping_ms)
    state
  end

  # By a message to itself, so that what has come together meanwhile goes in one go.
  defp flush_soon(state) do
    if state.conn != nil and not state.book.flushing?, do: send(self(), :flush)
    %{state | book: %{state.book | flushing?: state.conn != nil}}
  end

  defp flush(%{conn: nil} = state), do: %{state | book: %{state.book | flushing?: false}}

  defp flush(state) do
    state = %{state | book: %{state.book | flushing?: false}}

    case Book.batch(state.book, @batch) do
      {[], _written, _book} ->
        state

      {commands, written, book} ->
        case Resp.run(state.conn, commands) do
          {:ok, replies} -> written(state, book, written, replies)
          {:error, reason} -> lose(state, reason)
        end
    end
  end

  # One at a time: others wait for this process.
  defp read(%{conn: conn, reads: [{module, pid} | reads]} = state) when conn != nil do
    if reads != [], do: send(self(), :read)

    case Resp.run(conn, [Book.read_module(state.book, module)]) do
      {:ok, [reply]} ->
        if bytes = Book.module(reply), do: send(pid, {:store, {:module, module, bytes}})
        %{state | reads: reads}

      {:error, reason} ->
        lose(state, reason)
    end
  end

  defp read(state), do: state

  defp written(state, book, written, replies) do
    {answers, failed} = Book.answers(written, replies)
    Metrics.count(:store_writes_total, [result: :ok], length(replies) - length(failed))
    Metrics.count(:store_writes_total, [result: :failed], length(failed))

    # Somebody else's value under one of our keys stays there; a server that takes no writes may take them later.
    case Enum.reject(failed, &String.starts_with?(&1, "WRONGTYPE")) do
      [] ->
        for {pid, subject, generation} <- answers,
            do: send(pid, {:store, {:generation, subject, generation}})

        flush_soon(%{state | book: book})

      [reason | _more] ->
        lose(state, reason)
    end
  end

  defp wall_ms, do: System.system_time(:millisecond)
end
