defmodule ArqonBrain.LifecycleTest do
  use ExUnit.Case, async: true

  alias ArqonBrain.Lifecycle

  defp steps(life, looks) do
    Enum.map_reduce(looks, life, fn {occupied, idle, at}, life ->
      Lifecycle.step(life, occupied, idle, 20, at)
    end)
  end

  test "a room goes idle and closes when nobody refuses" do
    looks = [
      {true, 100, 0},
      {false, 100, 10},
      {false, 100, 109},
      {false, 100, 110},
      {false, 100, 129},
      {false, 100, 130}
    ]

    assert {[nil, :idled, nil, :announce_close, nil, :close], _} = steps(Lifecycle.new(7), looks)
  end

  test "a refusal counts only for its generation" do
    {_, life} = steps(Lifecycle.new(7), [{false, 0, 0}, {false, 0, 1}])
    assert {false, ^life} = Lifecycle.refuse(life, 6, 2)
    assert {true, life} = Lifecycle.refuse(life, 7, 2)
    assert {false, ^life} = Lifecycle.refuse(life, 7, 3)
    assert life.phase == {:idle, 2}
  end

  test "a member in the last moment keeps the room" do
    {steps, _} =
      steps(Lifecycle.new(1), [{false, 0, 0}, {false, 0, 1}, {true, 0, 20}, {false, 10, 25}])

    assert steps == [:idled, :announce_close, :activated, :idled]
  end
end
