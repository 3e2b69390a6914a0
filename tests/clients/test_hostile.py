"""Clients that break the rules are told by the documented code, and nobody else notices."""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterator

import pytest

from arqon_pb import PbClient
from bystanders import bystanders
from conftest import Bus
from raw import BINARY, CLOSE, PING, TEXT, Raw, frame, request

CONNECT = frame(TEXT, b'{"id":1,"connect":{}}')
CONNECT_PB = b"\x04\x08\x01\x12\x00"


@pytest.fixture(scope="module", autouse=True)
def pair(bus: Bus) -> Iterator[None]:
    with bystanders(bus):
        yield


def text(message: str | bytes) -> bytes:
    return frame(TEXT, message if isinstance(message, bytes) else message.encode())


def many(command: str, count: int, between: str = "\n") -> str:
    return between.join(command.replace("ID", str(number)) for number in range(2, count + 2))


# What is sent after `connect` in a JSON session -> the code of the close frame.
CLOSES = {
    "text that is not UTF-8": (text(b'{"id":2,"ping":{"x":"\xff"}}'), 1007),
    "UTF-8 that a fragment shows to be wrong": (frame(TEXT, b'{"\xff', first=TEXT), 1007),
    "a close reason that is not UTF-8": (frame(CLOSE, b"\x03\xe8\xff"), 1007),
    "no mask": (frame(TEXT, b'{"id":2,"ping":{}}', mask=False), 1002),
    "RSV1": (frame(TEXT, b"{}", first=0xC1), 1002),
    "RSV2": (frame(TEXT, b"{}", first=0xA1), 1002),
    "RSV3": (frame(TEXT, b"{}", first=0x91), 1002),
    "an unknown opcode": (frame(3, b""), 1002),
    "an unknown control opcode": (frame(11, b""), 1002),
    "a ping of 126 bytes": (frame(PING, bytes(126)), 1002),
    "a fragmented ping": (frame(PING, b"", first=PING), 1002),
    "a continuation of nothing": (frame(0, b"x"), 1002),
    "a message inside a fragmented one": (frame(TEXT, b"{", first=TEXT) + frame(TEXT, b"}"), 1002),
    "a length in more bytes than it needs": (frame(TEXT, b"{}", length=b"\x7e\x00\x02"), 1002),
    "a close code in one byte": (frame(CLOSE, b"\x03"), 1002),
    "a close code that nobody may send": (frame(CLOSE, b"\x03\xed"), 1002),
    "a binary message": (frame(BINARY, b"{}"), 1003),
    "a frame of 64 KiB and a byte": (frame(TEXT, b" " * 65537), 1009),
    "a header that announces a GiB": (frame(TEXT, b"", length=b"\x7f\0\0\0\0\x40\0\0\0"), 1009),
    "fragments of 80 KiB": (frame(TEXT, b" " * 40_000, first=TEXT) + frame(0, b" " * 40_000), 1009),
    "a megabyte of [": (text("[" * 1_000_000), 1009),
    "a thousand commands in a message": (text(many('{"id":ID,"ping":{}}', 1000)), 4502),
    "nothing but refused commands": (
        b"".join(text(f'{{"id":{number},"untrack":{{"room":"a"}}}}') for number in range(2, 120)),
        4502,
    ),
    "more commands than the rate allows": (
        b"".join(text(many('{"id":ID,"ping":{}}', 60)) for _ in range(200)),
        4006,
    ),
}

# A line in a JSON session -> the name of the error.
REFUSALS = {
    "not JSON": ("hello", "bad_request"),
    "an array": ("[]", "bad_request"),
    "60,000 times [": ("[" * 60_000, "bad_request"),
    "deep JSON": ('{"id":2,"publish":{"room":"a","data":' + "[" * 30_000, "bad_request"),
    "no command": ('{"id":2}', "unknown_command"),
    "two commands": ('{"id":2,"ping":{},"untrack":{"room":"a"}}', "bad_request"),
    "an unknown command": ('{"id":2,"fly":{}}', "unknown_command"),
    "a second connect": ('{"id":2,"connect":{}}', "already_connected"),
    "no id": ('{"subscribe":{"room":"a"}}', "bad_request"),
    "a large id": ('{"id":4294967296,"ping":{}}', "bad_request"),
    "an id that is text": ('{"id":"2","ping":{}}', "bad_request"),
    "no room": ('{"id":2,"subscribe":{}}', "bad_request"),
    "a room that is a number": ('{"id":2,"subscribe":{"room":7}}', "bad_request"),
    "no payload": ('{"id":2,"publish":{"room":"a"}}', "bad_request"),
    "two payloads": ('{"id":2,"publish":{"room":"a","data":1,"bytes":""}}', "bad_request"),
    "base64 that is none": ('{"id":2,"publish":{"room":"a","bytes":"*"}}', "bad_request"),
    "base64 without padding": ('{"id":2,"publish":{"room":"a","bytes":"YQ"}}', "bad_request"),
    "an empty msg_id": ('{"id":2,"publish":{"room":"a","data":1,"msg_id":""}}', "bad_request"),
    "a long msg_id": (f'{{"id":2,"publish":{{"room":"a","data":1,"msg_id":"{"m" * 65}"}}}}', "bad_request"),
    "an unknown watch": ('{"id":2,"subscribe":{"room":"a","watch":"all"}}', "bad_request"),
    "metadata of 2 KiB": (f'{{"id":2,"subscribe":{{"room":"a","track":"{"x" * 2048}"}}}}', "limit_exceeded"),
    "untrack without membership": ('{"id":2,"untrack":{"room":"a"}}', "not_subscribed"),
}
ROOMS = [
    *(">", "*", "a.*", "a..b", ".a", "a.", "", " ", "é", "🦀", "a b", "a\n", "a/b", "$SYS", "\0"),
    *("a" * 65, "a" * 10_000, "a." * 5_000 + "a", ".".join("a" * 9), "a\u202eb"),
]

# A message in a protobuf session, after `connect` -> the name of the error.
REFUSALS_PB = {
    "noise": (b"\xff" * 30, "bad_request"),
    "a message that is cut off": (b"\x05\x08", "bad_request"),
    "a line break in JSON": (b"\x0b\x08\x02\x2a\x07\x0a\x01a\x12\x02\n1", "bad_request"),
    "JSON that is none": (b"\x0b\x08\x02\x2a\x07\x0a\x01a\x12\x02][", "bad_request"),
    "a room that is not UTF-8": (b"\x07\x08\x02\x1a\x03\x0a\x01\xff", "bad_request"),
    "no command": (b"\x02\x08\x02", "unknown_command"),
}


@pytest.mark.parametrize(("sent", "code"), CLOSES.values(), ids=CLOSES)
async def test_what_closes_the_connection(bus: Bus, sent: bytes, code: int) -> None:
    raw = await Raw.open(bus.url, bus.token)
    raw.send(CONNECT + sent)
    closed, told = await raw.end()
    assert closed == code
    last = told[-1]["disconnect"]
    assert last["code"] == code, "a push says why before the close frame"
    assert last["reconnect"] is (4000 <= code < 4500)
    raw.close()


async def refusal(bus: Bus, line: str) -> tuple[int, dict[str, object]]:
    """The id and the fields of the error, from a session that goes on after it."""
    raw = await Raw.open(bus.url, bus.token)
    raw.send(CONNECT + text(line) + text('{"id":99,"ping":{}}') + frame(CLOSE, b"\x03\xe8"))
    closed, told = await raw.end()
    raw.close()
    assert closed == 1000 and told[-1] == {"id": 99, "pong": {}}, told
    [_, error, _] = told
    return error.get("id", 0), error["error"]


@pytest.mark.parametrize(("line", "name"), REFUSALS.values(), ids=REFUSALS)
async def test_what_is_refused(bus: Bus, line: str, name: str) -> None:
    id_, error = await refusal(bus, line)
    assert error["name"] == name
    assert id_ == (2 if line.startswith('{"id":2,') or line == '{"id":2}' else 0)
    assert len(str(error["message"])) < 200, "what was sent is not sent back"


async def test_nothing_goes_before_connect(bus: Bus) -> None:
    raw = await Raw.open(bus.url, bus.token)
    raw.send(text('{"id":2,"subscribe":{"room":"a"}}') + CONNECT + frame(CLOSE, b"\x03\xe8"))
    closed, told = await raw.end()
    assert closed == 1000
    assert (told[0]["id"], told[0]["error"]["name"]) == (2, "not_connected")
    assert told[1]["id"] == 1 and "connect" in told[1]
    raw.close()


async def test_the_rest_of_a_message_is_carried_out(bus: Bus) -> None:
    raw = await Raw.open(bus.url, bus.token)
    lines = ['{"id":2,"ping":{}}', "", "noise", '{"fly":{}}', '{"id":3,"ping":{}}', ""]
    raw.send(CONNECT + text("\n".join(lines)) + frame(CLOSE, b"\x03\xe8"))
    closed, told = await raw.end()
    assert closed == 1000
    assert told[1] == {"id": 2, "pong": {}} and told[4:] == [{"id": 3, "pong": {}}]
    assert [frame["error"]["name"] for frame in told[2:4]] == ["bad_request", "unknown_command"]
    raw.close()


@pytest.mark.parametrize("command", ["subscribe", "publish", "track", "unsubscribe"])
async def test_rooms_that_cannot_be(bus: Bus, command: str) -> None:
    more = {"publish": {"data": 1}, "track": {"meta": 1}}.get(command, {})
    for room in ROOMS:
        id_, error = await refusal(bus, json.dumps({"id": 2, command: {"room": room, **more}}))
        assert (id_, error["name"]) == (2, "invalid_room"), room[:80]


@pytest.mark.parametrize(("sent", "name"), REFUSALS_PB.values(), ids=REFUSALS_PB)
async def test_what_is_refused_in_protobuf(bus: Bus, sent: bytes, name: str) -> None:
    raw = await Raw.open(bus.url, bus.token, "arqon.v1.pb")
    raw.send(frame(BINARY, CONNECT_PB) + frame(BINARY, sent) + frame(CLOSE, b"\x03\xe8"))
    frames = await raw.frames()
    assert [opcode for opcode, _ in frames] == [BINARY, BINARY, CLOSE]
    [(_, kind, error)] = PbClient.decode(None, frames[1][1])  # type: ignore[arg-type]
    assert (kind, error["name"]) == ("error", name)
    raw.close()


async def test_text_in_a_protobuf_session_is_closed_with_1003(bus: Bus) -> None:
    raw = await Raw.open(bus.url, bus.token, "arqon.v1.pb")
    raw.send(frame(BINARY, CONNECT_PB) + text("{}"))
    closed, _ = await raw.end()
    assert closed == 1003
    raw.close()


@pytest.mark.parametrize("kind", ["a header", "a payload", "an upgrade"])
async def test_half_of_something_and_gone(bus: Bus, kind: str) -> None:
    """That nothing is left of them is seen at the end of the module."""
    for _ in range(50):
        if kind == "an upgrade":
            raw = await Raw.dial(bus.url)
            raw.send(request(bus.url)[:80])
        else:
            raw = await Raw.open(bus.url, bus.token)
            whole = CONNECT + frame(TEXT, bytes(50_000))
            raw.send(whole[: len(CONNECT) + (3 if kind == "a header" else 20_000)])
            assert (await raw.next())[0] == TEXT, "the reply to connect"
        raw.close()


# What stands in the request, made from URL and token -> the status.
UPGRADES: dict[str, tuple[int, Callable[[str, str], bytes]]] = {
    "a token in the URL": (400, lambda url, token: request(url, path=f"/v1/connect?token={token}")),
    "a token in the URL under another name": (
        400,
        lambda url, token: request(url, path=f"/v1/connect?access_token={token}"),
    ),
    "subprotocols that nobody knows": (400, lambda url, _: request(url, "Sec-WebSocket-Protocol: chat, mqtt")),
    "the origin of somebody else": (403, lambda url, _: request(url, "Origin: https://evil.example")),
    "no origin, by name": (403, lambda url, _: request(url, "Origin: null")),
    "an origin that begins like ours": (
        403,
        lambda url, _: request(url, "Origin: http://127.0.0.1.evil.example"),
    ),
    "another path": (404, lambda url, _: request(url, path="/nowhere")),
    "no upgrade": (426, lambda _url, _: b"GET /v1/connect HTTP/1.1\r\nHost: a\r\n\r\n"),
    "another method": (426, lambda _url, _: b"POST /v1/connect HTTP/1.1\r\nHost: a\r\n\r\n"),
}


@pytest.mark.parametrize(("status", "make"), UPGRADES.values(), ids=UPGRADES)
async def test_upgrades_that_are_refused(bus: Bus, status: int, make: Callable[[str, str], bytes]) -> None:
    raw = await Raw.dial(bus.url)
    raw.send(make(bus.url, bus.token))
    got, body = await raw.answer()
    assert got == status
    assert set(body) == {"error"} and bus.token not in body["error"]
    raw.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"hello\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0" + bytes(600),
        b"GET /" + b"a" * 9_000,
        b"a: b\r\n" * 2_000,
    ],
    ids=["not HTTP", "TLS", "a long path", "only headers"],
)
async def test_what_is_not_http_is_hung_up_on(bus: Bus, sent: bytes) -> None:
    raw = await Raw.dial(bus.url)
    raw.send(sent)
    try:
        answer = await asyncio.wait_for(raw.reader.read(), 8)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    except ConnectionError:
        pass  # more was on the way than it cared to read
    raw.close()


async def test_a_handshake_that_dribbles_is_ended_after_header_within(bus: Bus) -> None:
    raw, began = await Raw.dial(bus.url), time.monotonic()

    async def dribble() -> None:
        for byte in request(bus.url, "X-Slow: " + "a" * 500):
            raw.send(bytes([byte]))
            await asyncio.sleep(0.05)  # this is the attack, not a wait

    dribbling = asyncio.create_task(dribble())
    with contextlib.suppress(ConnectionError):
        await asyncio.wait_for(raw.reader.read(), 10)
    dribbling.cancel()
    assert 4 < time.monotonic() - began < 7
    raw.close()


async def test_who_does_not_authenticate_in_time_is_closed_with_4500(bus: Bus) -> None:
    """Whether silent or busy with something else."""
    sent = [b"", frame(PING, b""), text('{"id":2,"ping":{}}'), frame(TEXT, b"{", first=TEXT)]
    began = time.monotonic()
    raws = [await Raw.open(bus.url, None) for _ in sent]
    for raw, data in zip(raws, sent, strict=True):
        raw.send(data)
    for closed, told in await asyncio.gather(*(raw.end() for raw in raws)):
        assert closed == 4500
        assert told[-1]["disconnect"]["name"] == "connect_timeout"
    assert 9 < time.monotonic() - began < 13
    for raw in raws:
        raw.close()
