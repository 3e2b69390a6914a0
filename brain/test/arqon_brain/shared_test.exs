defmodule ArqonBrain.SharedTest do
  use ExUnit.Case, async: true

  alias ArqonBrain.{Gen, Revocations, Settings, Shared, Vectors}
  alias ArqonBrain.Wire.{Message, Pages, Protobuf}

  defp revocation(fields) do
    Map.merge(
      %{tenant: "acme", user: "", session: "", jti: "", at_ms: 1, until_ms: 100},
      Map.new(fields)
    )
  end

  defp setting(fields) do
    Map.merge(
      %{tenant: "", pattern: ">", members_max: 0, publish_rate_per_s: 0, idle_close_ms: 0},
      Map.new(fields)
    )
  end

  defp random_message do
    revoked =
      Gen.list(0..3, fn ->
        what = Gen.one(user: "ann", user: "bob", session: <<1::128>>, jti: "t")
        revocation([what, at_ms: Gen.int(1..5), until_ms: Gen.int(90..130)])
      end)

    settings =
      Gen.one([nil, %{version: Gen.int(0..3), rooms: [setting(members_max: Gen.int(0..3))]}])

    {revoked, settings}
  end

  defp merge(shared, messages) do
    Enum.reduce(messages, shared, fn {revoked, settings}, shared ->
      {_news, shared} = Shared.merge(shared, revoked, settings, 100)
      shared
    end)
  end

  defp all(shared), do: {Revocations.list(shared.revocations), shared.settings}

  test "order, repetition and grouping do not matter, and the digest tells" do
    Gen.check(300, fn ->
      messages = Gen.list(0..8, &random_message/0)
      straight = merge(%Shared{}, messages)
      assert merge(%Shared{}, Gen.shuffle(messages ++ messages)) == straight
      {left, right} = Enum.split(messages, Gen.int(0..length(messages)))
      assert %Shared{} |> merge(left) |> merge([all(merge(%Shared{}, right))]) == straight
      other = merge(straight, [random_message()])
      assert Shared.digest(other) == Shared.digest(straight) == (other == straight)
    end)
  end

  test "the golden digests are what this code computes" do
    golden = Vectors.read()["digests"]["shared"]
    times = [at_ms: 1_700_000_000_000, until_ms: 1_700_003_600_000]
    {_, shared} = Shared.merge(%Shared{}, [revocation([jti: "t-1"] ++ times)], nil, 0)
    assert Shared.digest(shared) == String.to_integer(golden["revocation"])

    fields = [
      tenant: "acme",
      pattern: "chat.>",
      members_max: 100,
      publish_rate_per_s: 50,
      idle_close_ms: 1000
    ]

    {_, shared} =
      Shared.merge(shared, [], %{version: 5, rooms: [setting(fields)], policies: []}, 0)

    assert Shared.digest(shared) == String.to_integer(golden["both"])
  end

  test "news are told once, and only what is new" do
    ann = revocation(user: "ann")
    {news, shared} = Shared.merge(%Shared{}, [ann, ann], nil, 0)
    assert news == %{revoked: [ann], settings: nil, refused: 0}
    assert [{:shared, %{revoked: [^ann], pull: ""}}] = Shared.news_pages(news)

    assert {%{revoked: [], settings: nil} = none, ^shared} =
             Shared.merge(shared, [ann], Settings.none(), 0)

    assert Shared.news_pages(none) == []
    longer = %{ann | until_ms: 101}
    assert {%{revoked: [^longer]}, _} = Shared.merge(shared, [longer], nil, 0)
  end

  test "a revocation ends at its time and is not taken again" do
    {_, shared} = Shared.merge(%Shared{}, [revocation(user: "ann")], nil, 0)
    assert Shared.expire(shared, 99) == shared
    assert Shared.expire(shared, 100) == %Shared{}

    assert {%{revoked: []}, %Shared{revocations: %{sum: 0}}} =
             Shared.merge(%Shared{}, [revocation(jti: "t")], nil, 100)
  end

  test "the set is bounded, and what is known can still be prolonged" do
    full = for i <- 1..10_000, do: revocation(user: "u#{i}")
    {%{refused: 0}, shared} = Shared.merge(%Shared{}, full, nil, 0)

    assert {%{refused: 1, revoked: []}, ^shared} =
             Shared.merge(shared, [revocation(user: "x")], nil, 0)

    assert {%{refused: 0, revoked: [_]}, _} =
             Shared.merge(shared, [revocation(user: "u1", until_ms: 200)], nil, 0)

    pages = Shared.pages(shared, "brain-1") |> Enum.map(&Message.encode({"brain-0", 1}, &1))
    assert length(pages) > 1 and Enum.all?(pages, &(byte_size(&1) <= 32 * 1024))
    read = for page <- pages, do: elem(elem(Message.decode(page), 1).body, 1)
    assert read |> Enum.flat_map(& &1.revoked) |> Enum.sort() == Enum.sort(full)
    assert Enum.map(read, & &1.pull) == List.duplicate("", length(pages) - 1) ++ ["brain-1"]
  end

  test "the first setting that covers a room counts" do
    rooms = [
      setting(tenant: "acme", pattern: "chat.*", idle_close_ms: 5),
      setting(pattern: "chat.>", idle_close_ms: 7),
      setting(members_max: 3)
    ]

    settings = %{version: 1, rooms: rooms, policies: []}
    assert Settings.idle_close_ms(settings, "acme.chat.a", 60) == 5
    assert Settings.idle_close_ms(settings, "globex.chat.a", 60) == 7
    assert Settings.idle_close_ms(settings, "acme.lobby", 60) == 60
    assert Settings.idle_close_ms(Settings.none(), "acme.lobby", 60) == 60
    assert Shared.read_settings(Settings.encode(settings)) == settings
    assert Shared.read_settings("\xff") == nil
  end

  test "what breaks a rule is refused" do
    assert Message.revocation?(revocation(user: "ann"))

    for bad <- [
          [],
          [user: "a", jti: "b"],
          [session: <<1>>],
          [jti: String.duplicate("j", 129)],
          [user: "a", tenant: ""]
        ] do
      refute Message.revocation?(revocation(bad)), inspect(bad)
    end

    for bad <- [[pattern: "a..b"], [tenant: "-"], [publish_rate_per_s: 0x1_0000_0000]] do
      refute Message.settings?(%{version: 1, rooms: [setting(bad)], policies: []}), inspect(bad)
    end

    refute Message.settings?(%{
             version: 1,
             rooms: List.duplicate(setting(pattern: String.duplicate("a", 64)), 500),
             policies: []
           })
  end

  test "an answer takes what fits, and one at least" do
    rooms =
      for i <- 1..2000,
          do: %{subject: "acme.room-#{i}", generation: 1, phase: 1, users: 1, members: 1}

    {taken, true} = Pages.fit(:room_info, rooms, 0)

    assert IO.iodata_length(Protobuf.encode(:room_list, %{rooms: taken, more: true})) in 20_000..32_768

    assert {[_, _], true} = Pages.fit(:room_info, rooms, 2)
    assert {[_, _], false} = Pages.fit(:room_info, Enum.take(rooms, 2), 2)
    assert {[_], false} = Pages.fit(:room_info, [%{subject: String.duplicate("x", 40_000)}], 0)
    assert {[], false} = Pages.fit(:room_info, [], 0)
  end
end
