defmodule ArqonBrain.PresenceStateTest do
  @moduledoc "The rooms of one shard as a value."
  use ExUnit.Case, async: true

  alias ArqonBrain.Presence.State
  alias ArqonBrain.{RoomState, Slice}

  defp at(mono_ms), do: %{mono_ms: mono_ms, wall_ms: 1_700_000_000_000 + mono_ms}

  defp looks(state) do
    {outputs, state} = State.take(state)
    {for({:room, subject, {:look, occupied, _, _}} <- outputs, do: {subject, occupied}), state}
  end

  test "who comes and goes between two looks has changed rooms all the same" do
    state =
      State.look(
        %State{window: &(&1.mono_ms + 20), idle_close: 60_000, rooms_max: 9, sessions_max: 9},
        at(0)
      )

    slice = Slice.new(1, [{1, 1}], %{1 => {"ann", <<1::128>>, "1"}})

    state =
      state
      |> State.visible(%{"s1" => true})
      |> State.merge([{"acme.a", RoomState.new(%{"s1" => slice})}], at(10))
      |> State.opened("acme.a", 1)
      |> State.flush(at(30))

    {[], state} = looks(state)
    state = state |> State.visible(%{}) |> State.look(at(2_000))
    assert {[{"acme.a", false}], state} = looks(state)

    assert {[], _state} =
             state
             |> State.phase("acme.a", 1, {:idle, 2_000}, 62_000)
             |> State.look(at(4_000))
             |> looks()
  end
end
