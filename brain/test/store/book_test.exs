defmodule ArqonBrain.Store.BookTest do
  use ExUnit.Case, async: false

  alias ArqonBrain.Metrics
  alias ArqonBrain.Store.Book

  defp revocation(n, at_ms \\ 10, until_ms \\ 1_000),
    do: %{tenant: "acme", user: "u\"#{n}", session: "", jti: "", at_ms: at_ms, until_ms: until_ms}

  defp flat(commands),
    do: Enum.map(commands, fn words -> Enum.map(words, &IO.iodata_to_binary/1) end)

  defp commands(book) do
    {commands, _written, book} = Book.batch(book, 1_000)
    {flat(commands), book}
  end

  test "merging keeps the greater of both times, and only news is written" do
    book = Book.new("p") |> Book.revoke([revocation(1, 10, 100), revocation(1, 5, 200)], 0)
    field = ~S(["acme","u\"1","",""])

    assert {[["HSET", "p:revocations", ^field, ~S({"at_ms":10,"until_ms":200})]], book} =
             commands(book)

    assert {[], _book} =
             commands(Book.revoke(book, [revocation(1, 10, 200), revocation(1, 3, 4)], 0))
  end

  test "what has run out is not taken, and what Valkey has of it is deleted" do
    book = Book.new("p") |> Book.revoke([revocation(1, 10, 100)], 100)
    assert {[], _book} = commands(book)
    stored = [{~S(["acme","u","",""]), ~S({"at_ms":1,"until_ms":100})}]

    assert {[["HDEL", "p:revocations", ~S(["acme","u","",""])]], book} =
             commands(Book.load(book, stored, [], 100))

    assert Book.loaded(book, 100) == %{revocations: [], settings: nil}
  end

  test "above the bound nothing is taken, and what has run out makes place" do
    count = fn -> Metrics.get(:store_dropped_total, kind: :revocations) end
    dropped = count.()
    full = Book.new("p") |> Book.revoke(for(n <- 1..Book.revocations_max(), do: revocation(n)), 0)
    full = Book.revoke(full, [revocation(:more)], 0)
    assert length(Book.loaded(full, 0).revocations) == Book.revocations_max()
    assert count.() == dropped + 1
    book = Book.revoke(full, [revocation(:more, 10, 2_000)], 1_000)
    assert [%{user: "u\"more"}] = Book.loaded(book, 1_000).revocations
  end

  test "what has run out does not pile up while nobody can delete it" do
    book =
      for round <- 1..3, reduce: Book.new("p") do
        book ->
          many =
            for n <- 1..Book.revocations_max(), do: revocation("#{round}-#{n}", 1, round * 1_000)

          Book.revoke(book, many, round * 1_000 - 1)
      end

    assert length(book.stale) == Book.revocations_max()
  end

  test "times that no Brain wrote are left alone" do
    times = [~S(-5,"until_ms":900), ~S(1,"until_ms":-1), ~S(1,"until_ms":18446744073709551616)]

    stored =
      for {time, n} <- Enum.with_index(times),
          do: {~s(["acme","u#{n}","",""]), ~s({"at_ms":#{time}})}

    book = Book.load(Book.new("p"), stored, [], 0)
    assert Book.loaded(book, 0).revocations == []
    assert {[], _book} = commands(book)
  end

  test "what is loaded and what is here become one, and only the difference is written" do
    session = <<0::120, 7>>
    mine = %{tenant: "acme", user: "", session: session, jti: "", at_ms: 1, until_ms: 900}

    stored = [
      {~S(["acme","u\"1","",""]), ~S({"at_ms":20,"until_ms":1000})},
      {~S(["acme","u\"2","",""]), ~S({"at_ms":1,"until_ms":1000})},
      {"nonsense", "x"},
      {~S(["acme","u","xx",""]), ~S({"at_ms":1,"until_ms":1000})},
      {~S(["acme",7,"",""]), ~S({"at_ms":1,"until_ms":1000})}
    ]

    book =
      Book.new("p")
      |> Book.revoke([revocation(1), revocation(2), mine], 0)
      |> Book.load(stored, [], 0)

    {commands, book} = commands(book)
    hex = Base.encode16(session, case: :lower)

    assert Enum.sort(commands) == [
             [
               "HSET",
               "p:revocations",
               ~s(["acme","","#{hex}",""]),
               ~S({"at_ms":1,"until_ms":900})
             ],
             [
               "HSET",
               "p:revocations",
               ~S(["acme","u\"2","",""]),
               ~S({"at_ms":10,"until_ms":1000})
             ]
           ]

    loaded = Book.loaded(book, 0).revocations |> Enum.sort()
    assert loaded == Enum.sort([revocation(1, 20), revocation(2, 10), mine])
  end

  test "settings never lose to older ones, in any order" do
    version = fn version, rest -> <<0x08, version, 0x12, byte_size(rest)>> <> rest end
    old = version.(5, "a")
    new = version.(6, "")
    {[["HSET", "p:settings", old_rank, ^old]], book} = commands(Book.set(Book.new("p"), old))
    {[["HSET", "p:settings", new_rank, ^new]], book} = commands(Book.set(book, new))
    assert new_rank > old_rank
    assert {[], _book} = commands(Book.set(book, old))

    for order <- [[{old_rank, old}, {new_rank, new}], [{new_rank, new}, {old_rank, old}]] do
      {commands, book} = commands(Book.load(Book.new("p"), [], order, 0))
      assert commands == [["HDEL", "p:settings", old_rank]]
      assert Book.loaded(book, 0).settings == new
    end

    {commands, _book} =
      commands(Book.load(Book.set(Book.new("p"), new), [], [{old_rank, old}], 0))

    assert commands == [["HSET", "p:settings", new_rank, new]]
  end

  test "a module that is named again before anything was written does not run out" do
    book = Book.put_module(Book.new("p"), <<1>>, "one")
    book = book |> Book.drop_modules([<<1>>]) |> Book.put_module(<<1>>, "one")
    assert {[["HSET" | _], ["PERSIST", "p:module:01"]], book} = commands(book)
    assert {[], _book} = commands(book)
  end

  test "modules are written one in a batch, again after Valkey was away, and in pieces" do
    small = Book.put_module(Book.new("p"), <<1>>, "one")

    assert {[["HSET", "p:module:01", "0", "one"], ["PERSIST", "p:module:01"]], book} =
             commands(small)

    assert {[], book} = commands(book)
    assert {[["HSET" | _], ["PERSIST" | _]], book} = commands(Book.load(book, [], [], 0))
    large = :binary.copy("x", 1024 * 1024 + 1)
    book = book |> Book.put_module(<<2>>, large) |> Book.put_module(<<3>>, "three")
    assert {[["HSET", "p:module:03" | _], _persist], book} = commands(book)
    assert {[["HSET", "p:module:02" | pieces], _persist], book} = commands(book)
    assert ["0", _, "1", _, "2", "x"] = pieces
    assert Book.module(pieces) == large
    assert Book.module(["0", "a", "2", "c"]) == nil
    assert Book.module([]) == nil
    assert Book.module({:error, "WRONGTYPE"}) == nil

    assert {[["PEXPIRE", "p:module:02", _week]], _book} =
             commands(Book.drop_modules(book, [<<2>>, <<9>>]))
  end

  test "a generation is asked for once, and dropped before it is asked for again" do
    me = self()
    book = Book.new("p") |> Book.generation("a.b", 7, me) |> Book.generation("a.b", 9, me)
    {commands, written, empty} = Book.batch(book, 10)

    assert [["SET", "p:room:a.b", "9", "NX", "PX", _ms], ["PEXPIRE" | _], ["GET", "p:room:a.b"]] =
             flat(commands)

    assert Book.answers(written, [nil, 1, "8"]) == {[{me, "a.b", 8}], []}

    assert Book.answers(written, ["OK", 1, {:error, "WRONGTYPE x"}]) ==
             {[{me, "a.b", 9}], ["WRONGTYPE x"]}

    for no_generation <- ["0", "-1", "7x", "9007199254740992", "18446744073709551616", 7] do
      assert Book.answers(written, ["OK", 1, no_generation]) == {[{me, "a.b", 9}], []}
    end

    assert {[], [], _book} = Book.batch(empty, 10)

    book = book |> Book.drop("a.b")
    assert {[["DEL", "p:room:a.b"]], _book} = commands(book)
    {commands, _book} = commands(Book.generation(book, "a.b", 10, me))
    assert [["DEL", _], ["SET", _, "10" | _], ["PEXPIRE" | _], ["GET", _]] = commands
  end

  test "rooms that wait have a bound" do
    book = Enum.reduce(1..10_000, Book.new("p"), &Book.generation(&2, "a.#{&1}", 1, self()))
    assert Book.generation(book, "a.more", 1, self()) == book
    assert Book.drop(book, "a.more") == book
    assert map_size(Book.drop(book, "a.1").generations) == 10_000
  end
end
