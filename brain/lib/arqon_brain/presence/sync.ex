defmodule ArqonBrain.Presence.Sync do
  @moduledoc """
  Tells other Brains the digests of all rooms. A page says what is in a stretch of subjects, so it needs those of all shards; this
  is a process of its own, so that a million of them keep nobody waiting.
  """

  use GenServer

  alias ArqonBrain.{Flow, Post}
  alias ArqonBrain.Wire.{Message, Pages}

  @doc "Starts it under its name."
  @spec start_link(ArqonBrain.Control.Tree.context()) :: GenServer.on_start()
  def start_link(context), do: GenServer.start_link(__MODULE__, context)

  @impl true
  def init(context) do
    Flow.register(:sync)

    {:ok,
     %{sender: context.sender, shards: context.shards, seq: 0, left: 0, digest: 0, lists: []}}
  end

  @impl true
  def handle_info({:flow, message}, state) do
    state = handle(message, state)
    Flow.done(:sync)
    {:noreply, state}
  end

  def handle_info(_other, state), do: {:noreply, state}

  # A round that a crashed shard has left unfinished ends with the next.
  defp handle({:start, digest}, state) do
    seq = state.seq + 1
    for index <- 0..(state.shards - 1), do: Flow.send({:shard, index}, {:snapshot, seq})
    %{state | seq: seq, left: state.shards, digest: digest, lists: []}
  end

  defp handle({:snapshot, seq, list}, %{seq: seq, left: 1} = state) do
    for body <- Pages.digests(:lists.merge([list | state.lists]), state.digest) do
      Post.send(state.sender, Message.brains(), body)
    end

    %{state | left: 0, lists: []}
  end

  defp handle({:snapshot, seq, list}, %{seq: seq} = state) do
    %{state | left: state.left - 1, lists: [list | state.lists]}
  end

  defp handle({:snapshot, _old, _list}, state), do: state
end
