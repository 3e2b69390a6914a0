defmodule ArqonBrain.LeaseTableTest do
  use ExUnit.Case, async: true

  alias ArqonBrain.LeaseTable

  @table %LeaseTable{lease: 60, grace: 50, permanent_down: 6000, max: 2}

  test "a lease runs, is shown for the grace, and is given up after minutes" do
    {:accepted, table} = LeaseTable.hello(@table, "a", 1, 10, 0)
    assert {LeaseTable.up?(table, "a", 59), LeaseTable.up?(table, "a", 60)} == {true, false}

    assert {LeaseTable.visible?(table, "a", 109), LeaseTable.visible?(table, "a", 110)} ==
             {true, false}

    assert LeaseTable.next_timeout(table, 0) == 60
    assert LeaseTable.next_timeout(table, 60) == 110
    assert LeaseTable.next_timeout(table, 110) == 6000
    assert {[], ^table} = LeaseTable.give_up(table, 5999)
    assert {["a"], table} = LeaseTable.give_up(table, 6000)
    assert LeaseTable.seen(table, "a") == 10
    assert {false, ^table} = LeaseTable.extend(table, "a", 1, 10, 6001)
    assert {{:higher, 10}, ^table} = LeaseTable.hello(table, "a", 1, 10, 6001)
    assert {:accepted, _} = LeaseTable.hello(table, "a", 1, 11, 6001)
    assert LeaseTable.next_timeout(table, 6000) == nil
  end

  test "of two holders of a name the one that is alive keeps it" do
    {:accepted, table} = LeaseTable.hello(@table, "a", 1, 10, 0)
    assert {{:occupied, 10}, ^table} = LeaseTable.hello(table, "a", 2, 99, 29)
    assert {{:higher, 10}, ^table} = LeaseTable.hello(table, "a", 2, 10, 30)
    assert {:accepted, table} = LeaseTable.hello(table, "a", 2, 11, 30)
    assert {false, ^table} = LeaseTable.extend(table, "a", 1, 10, 31)
    assert LeaseTable.moved_on?(table, "a", 2, 10)
    refute LeaseTable.moved_on?(table, "a", 1, 10)
  end

  test "a bye ends the lease and a word begins it again" do
    {:accepted, table} = LeaseTable.hello(@table, "a", 1, 10, 0)
    table = LeaseTable.bye(table, "a", 5)
    refute LeaseTable.up?(table, "a", 5)
    assert LeaseTable.visible?(table, "a", 54)
    assert {true, table} = LeaseTable.extend(table, "a", 1, 10, 20)
    assert LeaseTable.up_list(table, 20) == [{"a", 10}]
    assert LeaseTable.visible_set(table, 129) == %{"a" => true}
  end

  test "a rumour of a newer life ends the lease of the older one" do
    {:accepted, table} = LeaseTable.hello(@table, "a", 1, 10, 0)
    assert {true, ^table} = LeaseTable.rumour(table, "a", 10, 1)
    assert {false, ^table} = LeaseTable.rumour(table, "a", 9, 1)
    assert {true, table} = LeaseTable.rumour(table, "a", 11, 1)
    refute LeaseTable.visible?(table, "a", 1)
    assert {false, _} = LeaseTable.extend(table, "a", 1, 10, 1)
  end

  test "places are bounded: those that were given up go first" do
    {:accepted, table} = LeaseTable.hello(@table, "a", 1, 1, 0)
    {:accepted, table} = LeaseTable.hello(table, "b", 1, 1, 10)
    assert {:full, ^table} = LeaseTable.hello(table, "c", 1, 1, 10)
    assert {false, ^table} = LeaseTable.rumour(table, "c", 1, 10)
    {["a"], table} = LeaseTable.give_up(table, 6005)
    assert {:accepted, table} = LeaseTable.hello(table, "c", 1, 1, 6006)
    refute LeaseTable.known?(table, "a")
    assert LeaseTable.forgive(table, 7000).shields["b"].silent_since == 7000
  end
end
