"""Two programs with the stock WebSocket library talk to each other, in both encodings and across them."""

import asyncio
import base64
import json
import time
from typing import Any

import pytest

from arqon_json import JsonClient, Refused
from conftest import Bus, Enter, both, encoding, pairs


@both
async def test_connect_says_who_and_for_how_long(enter: Enter, kind: type[JsonClient]) -> None:
    client = await enter(kind, "ada")
    welcome = client.welcome
    assert welcome["user"] == "ada"
    assert len(welcome["session"]) == 32 and int(welcome["session"], 16)
    assert 3_590_000 < welcome["ttl_ms"] <= 3_600_000
    assert welcome["ping_interval_ms"] == 25_000 and welcome["pong_timeout_ms"] == 10_000
    assert welcome["message_bytes_max"] == 65_536
    assert client.ws.subprotocol == kind.subprotocol
    assert not client.ws.protocol.extensions, "there is no compression"


@pairs
async def test_two_exchange_json_and_bytes(
    enter: Enter, one: type[JsonClient], other: type[JsonClient]
) -> None:
    ada, bob = await enter(one, "ada"), await enter(other, "bob")
    room = f"exchange.{encoding(one)}-{encoding(other)}"
    for client in (ada, bob):
        assert await client.call("subscribe", room=room) == {"room": room}
    payloads = [
        {"text": "hi \u2028 \x85 ü 🦀 \\ \n", "n": [1, 2.5, None]},
        "a string",
        None,
        7,
        b"",
        bytes(range(256)),
    ]
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for number, payload in enumerate(payloads):
        told = {"msg_id": f"m{number}", "traceparent": trace}
        assert await ada.publish(room, payload, **told) == {}
        for client in (ada, bob):
            heard = await client.push("publication")
            assert heard.pop("at_ms") > 1_700_000_000_000
            who = {"user": "ada", "session": ada.welcome["session"]}
            assert heard == {"room": room, "payload": payload, **who, **told}
    assert await bob.publish(room, "back") == {}
    heard = await ada.push("publication")
    assert (heard["user"], heard["payload"]) == ("bob", "back") and "msg_id" not in heard


@both
async def test_echo_off_for_a_publish_and_for_a_membership(enter: Enter, kind: type[JsonClient]) -> None:
    ada, bob = await enter(kind, "ada"), await enter(kind, "bob")
    room = f"echo.{encoding(kind)}"
    await ada.call("subscribe", room=room)
    await bob.call("subscribe", room=room, echo=False)
    await ada.publish(room, 1, echo=False)
    await ada.publish(room, 2)
    await bob.publish(room, 3)
    await ada.publish(room, 4)
    assert [(await ada.push("publication"))["payload"] for _ in range(3)] == [2, 3, 4]
    assert [(await bob.push("publication"))["payload"] for _ in range(3)] == [1, 2, 4]


@both
async def test_a_retry_with_the_same_msg_id_is_delivered_once(enter: Enter, kind: type[JsonClient]) -> None:
    ada, bob = await enter(kind, "ada"), await enter(kind, "bob")
    room = f"retry.{encoding(kind)}"
    await bob.call("subscribe", room=room)
    for payload in ("first", "again"):
        assert await ada.publish(room, payload, msg_id="same") == {}
    await bob.publish(room, "of another user", msg_id="same")
    await ada.publish(room, "last", msg_id="other")
    heard = [(await bob.push("publication"))["payload"] for _ in range(3)]
    assert sorted(heard) == ["first", "last", "of another user"]
    assert bob.pushes.empty()


@pairs
async def test_200_publishes_arrive_in_order(
    enter: Enter, one: type[JsonClient], other: type[JsonClient]
) -> None:
    """200 is the burst that the limits allow at once, and below 256 publishes in flight."""
    ada, bob = await enter(one, "ada"), await enter(other, "bob")
    room = f"order.{encoding(one)}-{encoding(other)}"
    await ada.call("subscribe", room=room)
    await bob.call("subscribe", room=room)
    acks = await asyncio.gather(*(ada.publish(room, number) for number in range(200)))
    assert acks == [{}] * 200
    for client in (ada, bob):
        heard = [(await client.push("publication"))["payload"] for _ in range(200)]
        assert heard == list(range(200))


@both
async def test_after_unsubscribe_nothing_of_the_room_follows(enter: Enter, kind: type[JsonClient]) -> None:
    ada, bob = await enter(kind, "ada"), await enter(kind, "bob")
    gone, kept = f"gone.{encoding(kind)}", f"kept.{encoding(kind)}"
    await bob.call("subscribe", room=gone)
    await bob.call("subscribe", room=kept)
    await ada.publish(gone, 1)
    assert (await bob.push("publication"))["payload"] == 1
    assert (await bob.call("unsubscribe", room=gone))["room"] == gone
    await ada.publish(gone, 2)
    await ada.publish(kept, 3)
    heard = await bob.push("publication")
    assert (heard["room"], heard["payload"]) == (kept, 3)
    with pytest.raises(Refused, match="not_subscribed"):
        await bob.call("unsubscribe", room=gone)
    await bob.call("subscribe", room=gone)
    await ada.publish(gone, 4)
    assert (await bob.push("publication"))["payload"] == 4


@both
async def test_ping_has_a_pong(enter: Enter, kind: type[JsonClient]) -> None:
    client = await enter(kind)
    assert await client.call("ping") == {}
    pong = await client.ws.ping(b"of the WebSocket")
    await asyncio.wait_for(pong, 5)


@both
async def test_refresh_replaces_the_token(bus: Bus, enter: Enter, kind: type[JsonClient]) -> None:
    client = await enter(kind, "ada")
    kept, lost = f"kept.{encoding(kind)}", f"lost.{encoding(kind)}"
    await client.call("subscribe", room=kept)
    await client.call("subscribe", room=lost)
    less = bus.token_of("ada", "--room", kept, "--can", "subscribe", "--ttl", "2h")
    refreshed = await client.call("refresh", token=less)
    assert 7_190_000 < refreshed["ttl_ms"] <= 7_200_000
    ended = await client.push("unsubscribe")
    assert (ended["room"], ended["code"]) == (lost, 103)
    for room, name in ((lost, "permission_denied"), (kept, "permission_denied")):
        with pytest.raises(Refused, match=name):
            await client.publish(room, 1)
    with pytest.raises(Refused, match="identity_changed"):
        await client.call("refresh", token=bus.token_of("bob"))
    assert await client.call("ping") == {}, "it is still open"


@both
async def test_a_token_that_runs_out_is_told_and_closed_with_4002(bus: Bus, kind: type[JsonClient]) -> None:
    client = await kind.open(bus.url, bus.token_of("ada", "--ttl", "3s"))
    told, ends = await client.push("token_expiring"), time.monotonic() + client.welcome["ttl_ms"] / 1e3
    assert 0 < told["in_ms"] <= 3_000
    last = await client.push("disconnect")
    assert (last["code"], last["name"], last["reconnect"]) == (4002, "token_expired", True)
    assert await client.push("closed") == {"code": 4002}
    assert abs(time.monotonic() - ends) < 1.5


@both
@pytest.mark.parametrize("carrier", ["header", "subprotocol", "connect"])
async def test_the_token_comes_in_three_ways(bus: Bus, kind: type[JsonClient], carrier: str) -> None:
    token: str | None = None
    options: dict[str, Any] = {}
    if carrier == "header":
        options = {"additional_headers": {"Authorization": f"Bearer {bus.token}"}}
    elif carrier == "subprotocol":
        options = {"subprotocols": [kind.subprotocol, f"arqon.bearer.{bus.token}"]}
    else:
        token = bus.token
    client = await kind.open(bus.url, token, **options)
    assert client.welcome["user"] == "dev"
    assert client.ws.subprotocol == kind.subprotocol, "the token is never echoed"
    await client.close()


async def test_no_subprotocol_is_json(bus: Bus) -> None:
    client = await JsonClient.open(bus.url, bus.token, subprotocols=None)
    assert client.ws.subprotocol is None
    assert await client.call("ping") == {}
    await client.close()


async def test_the_first_known_subprotocol_is_chosen(bus: Bus) -> None:
    offered = ["chat", "arqon.v1.json", "arqon.v1.pb"]
    client = await JsonClient.open(bus.url, bus.token, subprotocols=offered)
    assert client.ws.subprotocol == "arqon.v1.json"
    await client.close()


@both
@pytest.mark.parametrize("carrier", ["header", "subprotocol", "connect"])
async def test_a_wrong_token_is_told_and_closed_with_4501(
    bus: Bus, kind: type[JsonClient], carrier: str
) -> None:
    wrong = bus.token[:-4] + ("AAAA" if not bus.token.endswith("AAAA") else "BBBB")
    options: dict[str, Any] = {}
    if carrier == "header":
        options = {"additional_headers": {"Authorization": f"Bearer {wrong}"}}
    elif carrier == "subprotocol":
        options = {"subprotocols": [kind.subprotocol, f"arqon.bearer.{wrong}"]}
    client = await kind.start(bus.url, **options)
    if carrier == "connect":
        with pytest.raises(Refused, match="unauthorized"):
            await client.call("connect", token=wrong)
    last = await client.push("disconnect")
    assert (last["code"], last["name"], last["reconnect"]) == (4501, "unauthorized", False)
    assert await client.push("closed") == {"code": 4501}


@both
@pytest.mark.parametrize("carrier", ["header", "connect"])
async def test_a_token_that_has_run_out_is_told_and_closed_with_4002(
    bus: Bus, kind: type[JsonClient], carrier: str
) -> None:
    token = bus.token_of("ada", "--ttl", "1s")
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    await asyncio.sleep(max(0.0, claims["exp"] - time.time()))  # until the clock says so
    header = {"additional_headers": {"Authorization": f"Bearer {token}"}} if carrier == "header" else {}
    client = await kind.start(bus.url, **header)
    if carrier == "connect":
        with pytest.raises(Refused, match="token_expired"):
            await client.call("connect", token=token)
    last = await client.push("disconnect")
    assert (last["code"], last["name"], last["reconnect"]) == (4002, "token_expired", True)
    assert await client.push("closed") == {"code": 4002}


@both
async def test_json_may_be_100_levels_deep(enter: Enter, kind: type[JsonClient]) -> None:
    client, room = await enter(kind), f"deep.{encoding(kind)}"
    await client.call("subscribe", room=room)
    deep: list[Any] = []
    for _ in range(99):
        deep = [deep]
    await client.publish(room, deep)
    assert (await client.push("publication"))["payload"] == deep
    with pytest.raises(Refused, match="bad_request: JSON nested deeper than 100 levels"):
        await client.publish(room, [deep])
