"""Who is in a room, as a client follows it."""

import asyncio
import time
from typing import Any

from arqon_json import Fields, JsonClient
from conftest import Enter, both, encoding, pairs


class Roster:
    """The presence of one room, kept as docs/protocol.md says."""

    def __init__(self, client: JsonClient) -> None:
        self.client = client
        self.users: dict[str, list[Fields]] = {}
        self.version, self.paging = -1, True

    async def until(self, wanted: dict[str, list[Any]]) -> None:
        """Waits until the metas by user are `wanted`."""
        while self.paging or self.metas() != wanted:
            kind, fields = await asyncio.wait_for(self.client.pushes.get(), 10)
            if kind == "presence_state":
                self.snapshot(fields)
            else:
                assert kind == "presence_diff", f"{kind}: {fields}"
                self.diff(fields)
            for metas in self.users.values():
                sessions = [meta["session"] for meta in metas]
                assert sessions == sorted(sessions)

    def metas(self) -> dict[str, list[Any]]:
        return {user: [meta["meta"] for meta in metas] for user, metas in self.users.items()}

    def snapshot(self, page: Fields) -> None:
        if page["page"] == 0:
            self.users, self.version = {}, page["version"]
        assert page["version"] == self.version
        self.users |= {member["user"]: member["metas"] for member in page["members"]}
        self.paging = not page["last"]

    def diff(self, diff: Fields) -> None:
        assert not self.paging, "diffs follow after the last page"
        assert diff["version"] == self.version + 1
        self.version += 1
        for member in diff["joins"]:
            assert member["user"] not in self.users, "a join is of somebody new"
            self.users[member["user"]] = member["metas"]
        for member in diff["updates"]:
            assert member["user"] in self.users, "an update is of somebody known"
            self.users[member["user"]] = member["metas"]
        for user in diff["leaves"]:
            del self.users[user]


@pairs
async def test_two_see_each_other_come_change_and_go(
    enter: Enter, one: type[JsonClient], other: type[JsonClient]
) -> None:
    ada, bob = await enter(one, "ada"), await enter(other, "bob")
    room = f"presence.{encoding(one)}-{encoding(other)}"
    await ada.call("subscribe", room=room, track={"at": "desk"}, watch="names")
    of_ada = Roster(ada)
    await of_ada.until({"ada": [{"at": "desk"}]})
    await bob.call("subscribe", room=room, watch="names")
    of_bob = Roster(bob)
    await of_bob.until({"ada": [{"at": "desk"}]})
    assert await bob.call("track", room=room, meta=[1]) == {}
    for roster in (of_ada, of_bob):
        await roster.until({"ada": [{"at": "desk"}], "bob": [[1]]})
    assert of_ada.users == of_bob.users
    await bob.call("track", room=room, meta=None)
    for roster in (of_ada, of_bob):
        await roster.until({"ada": [{"at": "desk"}], "bob": [None]})
    assert await ada.call("untrack", room=room) == {}
    for roster in (of_ada, of_bob):
        await roster.until({"bob": [None]})
    await bob.call("unsubscribe", room=room)
    await of_ada.until({})


@both
async def test_one_user_with_two_sessions_is_one_entry(enter: Enter, kind: type[JsonClient]) -> None:
    watcher, phone, desk = await enter(kind, "eve"), await enter(kind, "ada"), await enter(kind, "ada")
    room = f"sessions.{encoding(kind)}"
    await watcher.call("subscribe", room=room, watch="names")
    roster = Roster(watcher)
    await roster.until({})
    metas = {}
    for client, name in ((phone, "phone"), (desk, "desk")):
        await client.call("subscribe", room=room, track=name)
        metas[client.welcome["session"]] = name
        await roster.until({"ada": [metas[session] for session in sorted(metas)]})
    await phone.close()
    await roster.until({"ada": ["desk"]})
    await desk.close()
    await roster.until({})


@pairs
async def test_the_close_of_another_is_a_leave_at_once(
    enter: Enter, one: type[JsonClient], other: type[JsonClient]
) -> None:
    ada, bob = await enter(one, "ada"), await enter(other, "bob")
    room = f"close.{encoding(one)}-{encoding(other)}"
    await ada.call("subscribe", room=room, watch="names")
    await bob.call("subscribe", room=room, track="here")
    roster = Roster(ada)
    await roster.until({"bob": ["here"]})
    closed = time.monotonic()
    await bob.close()
    await roster.until({})
    assert time.monotonic() - closed < 2, "not after the grace period of 5 s"


async def test_an_abrupt_end_is_a_leave_after_the_grace_period(enter: Enter) -> None:
    """And a quick return of the same user is neither a leave nor a join."""
    ada, bob, cid = [await enter(JsonClient, user) for user in ("ada", "bob", "cid")]
    for client in (bob, cid):
        await client.call("subscribe", room="abrupt", track="here")
    await ada.call("subscribe", room="abrupt", watch="names")
    roster = Roster(ada)
    await roster.until({"bob": ["here"], "cid": ["here"]})
    cut = time.monotonic()
    for client in (bob, cid):
        client.ws.transport.abort()
    again = await enter(JsonClient, "cid")
    await again.call("subscribe", room="abrupt", track="back")
    # Both sessions of cid are there until the grace period of the first is over. In no diff does cid leave.
    left: list[str] = []
    while roster.metas() != {"cid": ["back"]}:
        kind, fields = await asyncio.wait_for(ada.pushes.get(), 10)
        assert kind == "presence_diff"
        left += fields["leaves"]
        roster.diff(fields)
    assert left == ["bob"]
    assert 4 < time.monotonic() - cut < 9


@both
async def test_counts(enter: Enter, kind: type[JsonClient]) -> None:
    room = f"counts.{encoding(kind)}"
    watcher, ada, twin = [await enter(kind, user) for user in ("eve", "ada", "ada")]

    async def until(users: int, members: int) -> None:
        wanted = {"room": room, "users": users, "members": members}
        while await watcher.push("presence_count") != wanted:
            pass

    await watcher.call("subscribe", room=room, watch="counts")
    await until(users=0, members=1)
    await ada.call("subscribe", room=room)
    await until(users=0, members=2)
    await ada.call("track", room=room, meta={})
    await until(users=1, members=2)
    await twin.call("subscribe", room=room, track={})
    await until(users=1, members=3)
    await ada.close()
    await until(users=1, members=2)
    await twin.close()
    await until(users=0, members=1)
