defmodule ArqonBrain.OrdersTest do
  use ExUnit.Case, async: true

  alias ArqonBrain.Orders

  test "an order is repeated five times, and told when it is over" do
    {:ok, 1, orders} = Orders.add(%Orders{}, {:drain, %{reason: "x"}}, ["b", "a"], 0)
    {[{"a", body}, {"b", body}], [], orders} = Orders.push(orders, 0)
    assert body == {:order, %{id: 1, kind: {:drain, %{reason: "x"}}}}
    assert {[], [], ^orders} = Orders.push(orders, 999)

    orders =
      orders
      |> Orders.reply("a", 1)
      |> Orders.reply("a", 1)
      |> Orders.reply("c", 1)
      |> Orders.reply("b", 9)

    orders =
      for at <- [1000, 2000, 3000, 4000], reduce: orders do
        orders ->
          assert Orders.next_timeout(orders) == at
          {[{"b", _}], [], orders} = Orders.push(orders, at)
          orders
      end

    assert {[], [{1, ["a"], ["b"]}], %Orders{pending: none}} = Orders.push(orders, 5000)
    assert none == %{}
  end

  test "an order is done with the last reply, and their number is bounded" do
    {:ok, 1, orders} = Orders.add(%Orders{}, {:drain, %{}}, ["a"], 0)
    {_, [], orders} = Orders.push(orders, 0)
    assert {[], [{1, ["a"], []}], orders} = orders |> Orders.reply("a", 1) |> Orders.push(1)
    assert Orders.next_timeout(orders) == nil

    full =
      for _ <- 1..1024, reduce: orders do
        orders -> orders |> Orders.add({:drain, %{}}, ["a"], 0) |> elem(2)
      end

    assert Orders.add(full, {:drain, %{}}, ["a"], 0) == :full
  end
end
