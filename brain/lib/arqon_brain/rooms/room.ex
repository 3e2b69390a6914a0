defmodule ArqonBrain.Rooms.Room do
  @moduledoc """
  The process of one room: its generation and where its life stands. It tells the world of changes, and its shard when it wants to be
  looked at again. It sleeps between two words of its shard.
  """

  use GenServer, restart: :temporary

  alias ArqonBrain.{Flow, Lifecycle, Post, Store}
  alias ArqonBrain.Rooms.{Generation, Names}
  alias ArqonBrain.Wire.Message

  @created 1
  @idle 2
  @active 3
  @closed 4

  @doc "Starts it under the subject of the room."
  @spec start_link(map) :: GenServer.on_start()
  def start_link(%{subject: subject} = argument) do
    name = {:via, Registry, {Names.registry(), subject}}
    GenServer.start_link(__MODULE__, argument, name: name)
  end

  @impl true
  def init(argument) do
    state = %{
      subject: argument.subject,
      life: Lifecycle.new(argument.generation),
      shard: argument.shard,
      sender: argument.sender,
      confirm: argument.confirm,
      # Whether the shard was asked for the last word. Its answer ends this process, so a second question would find nobody.
      asked: false
    }

    if argument.new do
      tell(state, @created, ArqonBrain.Clock.now())
      # Another Brain, or this one before a restart, may know the room under an earlier number.
      Store.generation(state.subject, state.life.generation)
    end

    {:ok, state, :hibernate}
  end

  @impl true
  def handle_info({:flow, message}, state) do
    result = handle(message, state)
    Flow.done({:room, self()})
    result
  end

  def handle_info(
        {:store, {:generation, _subject, generation}},
        %{life: %{generation: generation}} = state
      ) do
    {:noreply, state, :hibernate}
  end

  def handle_info({:store, {:generation, _subject, generation}}, state) do
    # Not while a close under the present number is announced: a refusal of it must be understood.
    if match?({:closing, _}, state.life.phase) do
      {:noreply, state, :hibernate}
    else
      Generation.seen(generation)
      {:noreply, report(%{state | life: %{state.life | generation: generation}}, 0), :hibernate}
    end
  end

  def handle_info(_other, state), do: {:noreply, state, :hibernate}

  defp handle({:look, occupied, idle_close, now}, state) do
    {step, life} = Lifecycle.step(state.life, occupied, idle_close, state.confirm, now.mono_ms)
    state = did(step, %{state | life: life}, now)

    due =
      case life.phase do
        :active -> 0
        {:idle, since} -> since + idle_close
        {:closing, since} -> since + state.confirm
      end

    {:noreply, report(state, due), :hibernate}
  end

  defp handle({:refuse, generation, now}, state) do
    {ours, life} = Lifecycle.refuse(state.life, generation, now.mono_ms)
    {:noreply, report(%{state | life: life, asked: state.asked and not ours}, 0), :hibernate}
  end

  defp handle({:closed, now}, state) do
    tell(state, @closed, now)
    Store.drop_generation(state.subject)
    {:stop, :normal, state}
  end

  defp handle({:attach, shard}, state),
    do: {:noreply, report(%{state | shard: shard, asked: false}, 0), :hibernate}

  defp did(:activated, state, now) do
    tell(state, @active, now)
    %{state | asked: false}
  end

  defp did(:idled, state, now) do
    tell(state, @idle, now)
    state
  end

  defp did(:announce_close, state, _now) do
    close = {:idle_close, %{subject: state.subject, generation: state.life.generation}}
    Post.send(state.sender, Message.shields(), close)
    state
  end

  # The shard has the last word: somebody may have come since it looked. What it opens next has a higher number.
  defp did(:close, %{asked: false} = state, _now) do
    Generation.seen(state.life.generation)
    Flow.send({:shard, state.shard}, {:may_close, state.subject})
    %{state | asked: true}
  end

  defp did(_nothing_new, state, _now), do: state

  defp report(state, due) do
    Flow.send(
      {:shard, state.shard},
      {:phase, state.subject, state.life.generation, state.life.phase, due}
    )

    state
  end

  defp tell(state, kind, now) do
    event = %{
      subject: state.subject,
      generation: state.life.generation,
      kind: kind,
      at_ms: now.wall_ms
    }

    Post.send(state.sender, Message.rooms(), {:room_event, event})
  end
end
