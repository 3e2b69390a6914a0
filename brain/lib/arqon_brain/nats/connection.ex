defmodule ArqonBrain.Nats.Connection do
  @moduledoc """
  The Brain's connection to the NATS servers.

  One process connects, reads, watches that the server still answers, and connects again to the next server of the list.
  What arrives is handed to the control module in the order of the wire; while that works nothing is read, so that a
  flood ends in the server's buffers and not in ours. Publishing goes past this process, see `publish/2`.

  After each connect the subscriptions are made, and only when a `PONG` has proved that the server has taken them, the
  control module hears `link(true)`.
  """

  use GenServer

  require Logger

  alias ArqonBrain.{Health, Metrics}
  alias ArqonBrain.Nats.{Backlog, Commands, Gate, Handshake, Parser, Transport, Writer}

  @behaviour ArqonBrain.Spine

  # Together: a server that has stopped is noticed after 4.5 s at most.
  @ping_ms 2_000
  @pong_ms 2_500

  @backoff_first_ms 50
  @backoff_max_ms 1_000
  @drain_ms 2_000

  # What may happen with each message is logged no more often than this.
  @tell_ms 10_000

  # A control message has at most 64 KiB.
  @payload_max 65_536

  @type handler :: (reply :: binary | nil, payload :: binary -> term)

  @type options :: [
          name: binary,
          spine: ArqonBrain.Config.spine(),
          control: module,
          subscriptions: [binary],
          extra: [{subject :: binary, handler}]
        ]

  @doc "Starts it; it connects by itself. `control` gets `link/1` and `handle/2`, `extra` are further subscriptions."
  @spec start_link(options) :: GenServer.on_start()
  def start_link(options), do: GenServer.start_link(__MODULE__, options, name: __MODULE__)

  @doc "For a supervisor: stopping drains, which takes its time."
  @spec child_spec(options) :: Supervisor.child_spec()
  def child_spec(options),
    do: %{
      id: __MODULE__,
      start: {__MODULE__, :start_link, [options]},
      shutdown: 3 * @drain_ms + 5_000
    }

  @doc "Hands a message to the socket's writer. Never waits; see `ArqonBrain.Spine`."
  @impl ArqonBrain.Spine
  @spec publish(binary, iodata) :: :ok | {:error, :down | :full}
  def publish(subject, payload), do: Gate.publish(subject, payload)

  @impl GenServer
  def init(options) do
    Process.flag(:trap_exit, true)
    Gate.new()
    subjects = Keyword.get(options, :subscriptions, ["_arqon.brain", "_arqon.brains"])
    subscriptions = Enum.map(subjects, &{&1, :control}) ++ Keyword.get(options, :extra, [])

    state = %{
      name: options[:name],
      spine: options[:spine],
      control: options[:control],
      subscriptions:
        subscriptions |> Enum.with_index(1) |> Map.new(fn {sub, sid} -> {sid, sub} end),
      handlers: %{},
      servers: Enum.shuffle(options[:spine].servers),
      failures: 0,
      last_error: nil,
      told: %{},
      link: nil
    }

    handlers =
      Map.new(state.subscriptions, fn {sid, {_subject, to}} -> {Integer.to_string(sid), to} end)

    Health.set(:spine, {:down, "no NATS server was reached yet"})
    # The process before this one was killed while it was connected, and could tell nobody.
    if Metrics.get(:spine_up) == 1, do: state.control.link(false)
    Metrics.set(:spine_up, 0)
    {:ok, %{state | handlers: handlers}, {:continue, :connect}}
  end

  @impl GenServer
  def handle_continue(:connect, state), do: connect(state)

  @impl GenServer
  def handle_info(:connect, %{link: nil} = state), do: connect(state)

  def handle_info({:ping, id}, %{link: %{id: id}} = state), do: {:noreply, ping(state, :alive)}

  def handle_info({:no_pong, id}, %{link: %{id: id} = link} = state) do
    if link.heard?,
      do: {:noreply, %{state | link: watch(link)}},
      else: {:noreply, lose(state, "no answer for #{@pong_ms} ms")}
  end

  def handle_info({:EXIT, pid, reason}, %{link: %{writer: pid}} = state) do
    {:noreply, lose(state, "the socket takes nothing: #{inspect(reason)}")}
  end

  def handle_info(message, %{link: %{transport: transport}} = state) do
    case Transport.event(transport, message) do
      {:data, bytes} -> {:noreply, data(state, bytes)}
      :passive -> {:noreply, arm(state)}
      {:closed, reason} -> {:noreply, lose(state, reason)}
      :other -> {:noreply, state}
    end
  end

  # Of a link that is gone.
  def handle_info(_message, state), do: {:noreply, state}

  @impl GenServer
  def terminate(_reason, %{link: nil}), do: :ok

  def terminate(_reason, state) do
    drain(state)
    # If it was a crash, the next process finds no trace of this link.
    if state.link.up?, do: state.control.link(false)
  end

  # -- connecting

  defp connect(%{servers: [server | others]} = state) do
    state = %{state | servers: others ++ [server]}

    case Handshake.open(server, state.spine, state.name, @payload_max) do
      {:ok, accepted} ->
        {:noreply, subscribe(state, accepted)}

      {:error, reason} ->
        {:noreply, again(state, "#{address(server)}: #{reason}")}
    end
  end

  defp address({_scheme, host, port}), do: "#{host}:#{port}"

  defp subscribe(state, accepted) do
    backlog = Backlog.new()

    link = %{
      id: make_ref(),
      transport: accepted.transport,
      parser: accepted.parser,
      payload_max: accepted.payload_max,
      backlog: backlog,
      writer: Writer.start_link(accepted.transport, backlog),
      pongs: :queue.new(),
      heard?: false,
      watch: nil,
      up?: false,
      held?: false
    }

    for {sid, {subject, _handler}} <- state.subscriptions,
        do: Writer.command(link.writer, Commands.sub(subject, sid))

    state = ping(%{state | link: link}, :barrier)

    case Enum.reduce(accepted.early, state, &message/2) do
      %{link: nil} = state -> state
      state -> arm(state)
    end
  end

  defp arm(state) do
    case Transport.arm(state.link.transport) do
      :ok -> state
      {:error, reason} -> lose(state, reason)
    end
  end

  # Waits a little longer after each failure, never longer than a second, and never in step with other Brains.
  defp again(state, reason) do
    Metrics.count(:spine_connects_total, result: :failed)
    Health.set(:spine, {:down, reason})
    if reason != state.last_error, do: Logger.warning("NATS: #{reason}; trying again")
    most = min(@backoff_first_ms * 2 ** min(state.failures, 10), @backoff_max_ms)
    wait = div(most, 2) + :rand.uniform(div(most, 2))
    Process.send_after(self(), :connect, wait)
    %{state | failures: state.failures + 1, last_error: reason}
  end

  defp up(%{link: link} = state) do
    most = %{
      bytes: state.spine.queue_bytes_max,
      messages: state.spine.queue_messages_max,
      payload: link.payload_max
    }

    Gate.open(link.writer, link.backlog, most)
    Metrics.count(:spine_connects_total, result: :ok)
    Metrics.set(:spine_up, 1)
    state.control.link(true)
    Health.set(:spine, :ok)
    %{state | link: %{link | up?: true}}
  end

  # Not before: a server that ends each connection at once would be told and tried twenty times a second.
  defp held(%{link: %{held?: true}} = state), do: state

  defp held(%{link: link} = state) do
    Logger.info("NATS: connected to #{address(List.last(state.servers))}")
    %{state | link: %{link | held?: true}, failures: 0, last_error: nil}
  end

  defp lose(%{link: link} = state, reason) do
    Gate.close()
    Process.unlink(link.writer)
    Process.exit(link.writer, :kill)
    Transport.abort(link.transport)
    cancel(link.watch)
    Metrics.count(:spine_lost_total, [reason: :down], Backlog.messages(link.backlog))
    Metrics.set(:spine_up, 0)
    if link.up?, do: state.control.link(false)
    again(%{state | link: nil}, "#{address(List.last(state.servers))}: #{reason}")
  end

  # -- watching

  defp ping(%{link: link} = state, why) do
    Writer.command(link.writer, Commands.ping())
    %{state | link: watch(%{link | pongs: :queue.in(why, link.pongs)})}
  end

  # Everything that arrives shows that the server lives, not the `PONG` alone: it may stand behind megabytes.
  defp watch(link) do
    cancel(link.watch)
    %{link | heard?: false, watch: Process.send_after(self(), {:no_pong, link.id}, @pong_ms)}
  end

  defp pong(%{link: link} = state) do
    case :queue.out(link.pongs) do
      {{:value, why}, pongs} ->
        cancel(link.watch)
        Process.send_after(self(), {:ping, link.id}, @ping_ms)
        state = %{state | link: %{link | pongs: pongs, watch: nil}}

        case why do
          :barrier -> up(state)
          :alive -> held(state)
          :drained -> state
        end

      {:empty, _pongs} ->
        state
    end
  end

  defp cancel(nil), do: :ok

  defp cancel(timer) do
    _left = Process.cancel_timer(timer)
    :ok
  end

  # -- reading

  defp data(state, bytes) do
    link = %{state.link | heard?: true}

    case Parser.parse(link.parser, bytes) do
      {:ok, messages, parser} ->
        Enum.reduce(messages, %{state | link: %{link | parser: parser}}, &message/2)

      {:error, reason, messages} ->
        state = Enum.reduce(messages, %{state | link: link}, &message/2)
        if state.link, do: lose(state, "it does not speak NATS: #{inspect(reason)}"), else: state
    end
  end

  # The rest of what was read on a link that one of the messages has ended.
  defp message(_message, %{link: nil} = state), do: state

  defp message({:msg, subject, sid, reply, payload}, state) do
    Metrics.count(:spine_messages_total, direction: :in)
    Metrics.count(:spine_bytes_total, [direction: :in], byte_size(payload))

    case state.handlers do
      %{^sid => :control} -> state.control.handle(subject, payload)
      %{^sid => handler} -> handler.(reply, payload)
      _unknown -> :ok
    end

    state
  end

  defp message({:skipped, subject, bytes}, state) do
    text = "a message of #{bytes} bytes on #{inspect(subject)} was not read"
    state = tell(state, :skipped, :warning, text)
    Metrics.count(:spine_skipped_total)
    state
  end

  defp message(:ping, state) do
    Writer.command(state.link.writer, Commands.pong())
    state
  end

  defp message(:pong, state), do: pong(state)
  defp message({:err, text}, state), do: refused(state, text, state.link.up?)
  defp message(_info_or_ok, state), do: state

  # Without its subscriptions the Brain is deaf; a publication that is not allowed is told and counted, and ends nothing.
  defp refused(state, text, up?) do
    cond do
      not up? -> lose(state, "the server refused: #{text}")
      String.starts_with?(text, "Permissions Violation for Publish") -> not_allowed(state, text)
      true -> lose(state, "the server says: #{text}")
    end
  end

  defp not_allowed(state, text) do
    state = tell(state, :not_allowed, :error, "#{text}; check the Brain's permissions")
    Metrics.count(:spine_lost_total, reason: :not_allowed)
    state
  end

  defp tell(state, what, level, text) do
    now = now()

    case state.told do
      %{^what => last} when now - last < @tell_ms ->
        state

      told ->
        Logger.log(level, "NATS: #{text}")
        %{state | told: Map.put(told, what, now)}
    end
  end

  # -- stopping

  # First nothing new comes in and what is here is handled, then what that made the Brain say goes out.
  defp drain(%{link: link} = state) do
    for {sid, _sub} <- state.subscriptions, do: Writer.command(link.writer, Commands.unsub(sid))
    until = now() + @drain_ms
    state = state |> ping(:drained) |> drain_until(until)
    if state.link, do: Gate.close()
    Metrics.set(:spine_up, 0)
    until = now() + @drain_ms
    state = if state.link, do: state |> ping(:drained) |> drain_until(until), else: state
    if state.link, do: Transport.abort(state.link.transport)
    :ok
  end

  defp drain_until(%{link: nil} = state, _until), do: state

  defp drain_until(%{link: link} = state, until) do
    if :queue.member(:drained, link.pongs) do
      receive do
        message -> message |> drained(state) |> drain_until(until)
      after
        max(until - now(), 0) -> %{state | link: give_up(link)}
      end
    else
      state
    end
  end

  defp drained(message, %{link: link} = state) do
    case Transport.event(link.transport, message) do
      {:data, bytes} -> data(state, bytes)
      :passive -> arm(state)
      {:closed, _reason} -> %{state | link: give_up(link)}
      :other -> state
    end
  end

  defp give_up(link) do
    Gate.close()
    Transport.abort(link.transport)
    nil
  end

  defp now, do: System.monotonic_time(:millisecond)
end
