"""Clients that send more than anybody needs, or break off; beside two who keep the rules."""

import asyncio
import base64
import json
import socket
import struct
import zlib
from collections.abc import Awaitable, Callable, Iterator

import pytest

from arqon_json import JsonClient, Refused
from bystanders import bystanders
from conftest import Bus
from raw import CLOSE, PING, TEXT, Raw, frame, request

CONNECT = frame(TEXT, b'{"id":1,"connect":{}}')
PINGED = {"id": 2, "pong": {}}
GOODBYE = frame(CLOSE, b"\x03\xe8")


@pytest.fixture(scope="module", autouse=True)
def pair(bus: Bus) -> Iterator[None]:
    with bystanders(bus):
        yield


async def session(bus: Bus, sent: bytes) -> tuple[int | None, list[dict[str, object]]]:
    """The close code of a session that sends this, and what it was told after `connect`."""
    raw = await Raw.open(bus.url, bus.token)
    raw.send(CONNECT + sent)
    code, told = await raw.end()
    raw.close()
    return code, told[1:]


async def pings(bus: Bus) -> None:
    """a thousand WebSocket pings at once: refused above the command rate, then closed with 4006"""
    code, told = await session(bus, frame(PING, b"x" * 100) * 1000)
    assert code == 4006
    assert {frame["error"]["name"] for frame in told[:-1]} == {"rate_limited"}  # type: ignore[index]


async def empty_fragments(bus: Bus) -> None:
    """a hundred thousand empty fragments inside one message: it is read, and nothing grows"""
    start = frame(TEXT, b'{"id":2,', first=TEXT)
    code, told = await session(bus, start + frame(0, b"", first=0) * 100_000 + frame(0, b'"ping":{}}') + GOODBYE)
    assert (code, told) == (1000, [PINGED])


async def single_bytes(bus: Bus) -> None:
    """a message of 60,000 fragments of one byte: it is read"""
    message = b'{"id":2,"ping":{}}'.rjust(60_000)
    fragments = b"".join(frame(0, message[at : at + 1], first=0) for at in range(1, len(message) - 1))
    sent = frame(TEXT, message[:1], first=TEXT) + fragments + frame(0, message[-1:])
    assert await session(bus, sent + GOODBYE) == (1000, [PINGED])


async def endless_fragments(bus: Bus) -> None:
    """fragments of one byte without end: closed with 1009 where the message is too large"""
    code, _ = await session(bus, frame(TEXT, b" ", first=TEXT) + frame(0, b" ", first=0) * 70_000)
    assert code == 1009


async def bomb(bus: Bus) -> None:
    """compression offered, not accepted, and 16 MiB sent as 16 KiB all the same: closed with 1002"""
    raw = await Raw.dial(bus.url)
    offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
    raw.send(request(bus.url, f"Authorization: Bearer {bus.token}", offer))
    head = await raw.reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101") and b"extensions" not in head.lower()
    deflate = zlib.compressobj(wbits=-15)
    packed = deflate.compress(b" " * (16 << 20)) + deflate.flush(zlib.Z_SYNC_FLUSH)
    raw.send(CONNECT + frame(TEXT, packed[:-4], first=0xC1))
    code, _ = await raw.end()
    raw.close()
    assert code == 1002


async def dribbled_frame(bus: Bus) -> None:
    """a command that comes byte by byte: it is carried out when it is whole"""
    raw = await Raw.open(bus.url, bus.token)
    raw.send(CONNECT)
    for byte in frame(TEXT, b'{"id":2,"ping":{}}'):
        raw.send(bytes([byte]))
        await asyncio.sleep(0.02)  # this is the attack, not a wait
    raw.send(GOODBYE)
    code, told = await raw.end()
    raw.close()
    assert (code, told[1:]) == (1000, [PINGED])


async def resets(bus: Bus) -> None:
    """two hundred connections that are reset in the middle of a message"""
    for _ in range(200):
        raw = await Raw.dial(bus.url)
        sock = raw.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.send(request(bus.url, f"Authorization: Bearer {bus.token}") + CONNECT[:7])
        raw.close()


async def half_closed(bus: Bus) -> None:
    """a client that ends its side of the socket without a close frame: the other side ends, too"""
    raw = await Raw.open(bus.url, bus.token)
    raw.send(CONNECT)
    raw.writer.write_eof()
    await raw.end()
    assert raw.reader.at_eof()
    raw.close()


async def unread_errors(bus: Bus) -> None:
    """ten thousand bad commands by somebody who reads no answer: closed, without a word for most"""
    raw = await Raw.open(bus.url, bus.token)
    raw.send(CONNECT + frame(TEXT, b'{"id":2,"fly":{}}') * 10_000)
    code, told = await raw.end()
    raw.close()
    assert code == 4502 and len(told) < 200


async def second_upgrade(bus: Bus) -> None:
    """another HTTP request after the upgrade: it is no frame, closed with 1002"""
    code, _ = await session(bus, request(bus.url))
    assert code == 1002


async def unmasked_flood(bus: Bus) -> None:
    """a hundred kilobytes of zeros: closed with 1002 at the first frame"""
    code, _ = await session(bus, bytes(100_000))
    assert code == 1002


async def pongs(bus: Bus) -> None:
    """fifty thousand pongs that nobody asked for: ignored"""
    sent = frame(0xA, b"x" * 20) * 50_000 + frame(TEXT, b'{"id":2,"ping":{}}') + GOODBYE
    assert await session(bus, sent) == (1000, [PINGED])


async def subscriptions(bus: Bus) -> None:
    """more rooms than a connection may be in: refused by the name of the limit"""
    client = await JsonClient.open(bus.url, bus.token)
    for number in range(128):
        await client.call("subscribe", room=f"many.{number}")
    with pytest.raises(Refused) as caught:
        await client.call("subscribe", room="many.more")
    assert caught.value.name == "limit_exceeded" and "rooms_per_connection_max" in str(caught.value)
    await client.close()


async def publications(bus: Bus) -> None:
    """publications above the rate: refused with a time to wait, none of those that were taken is lost"""
    client = await JsonClient.open(bus.url, bus.token)
    await client.call("subscribe", room="flood")
    sent = [asyncio.create_task(client.publish("flood", number)) for number in range(250)]
    results = await asyncio.gather(*sent, return_exceptions=True)
    refused = [result for result in results if isinstance(result, Refused)]
    assert refused and {result.name for result in refused} <= {"rate_limited", "limit_exceeded"}
    for _ in range(250 - len(refused)):
        await client.push("publication")
    await client.close()


FLOODS: list[Callable[[Bus], Awaitable[None]]] = [
    *(pings, empty_fragments, single_bytes, endless_fragments, bomb, dribbled_frame, resets, half_closed),
    *(unread_errors, second_upgrade, unmasked_flood, pongs, subscriptions, publications),
]


@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: flood.__name__)
async def test_floods(bus: Bus, flood: Callable[[Bus], Awaitable[None]]) -> None:
    await flood(bus)


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def unsigned(bus: Bus) -> str:
    """With the claims of a good token and `alg: none`."""
    return f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{bus.token.split('.')[1]}."


# Tokens that are worth nothing, each closed with 4501.
TOKENS: dict[str, Callable[[Bus], str]] = {
    "no token at all but a word": lambda bus: "hello",
    "three empty parts": lambda bus: "..",
    "a good token without its signature": lambda bus: bus.token.rpartition(".")[0] + ".",
    "a good token with another signature": lambda bus: bus.token[:-6] + "AAAAAA",
    "claims of another user under a good signature": lambda bus: ".".join(
        [bus.token.split(".")[0], encoded({"tenant": "dev", "sub": "root", "exp": 1 << 40}), bus.token.split(".")[2]]
    ),
    "alg none": unsigned,
    "for another audience": lambda bus: bus.token_of("eve", "--aud", "somebody-else"),
    "a megabyte, cut to what a message may have": lambda bus: "a" * 60_000,
}


@pytest.mark.parametrize("make", TOKENS.values(), ids=TOKENS)
async def test_tokens_that_are_worth_nothing(bus: Bus, make: Callable[[Bus], str]) -> None:
    raw = await Raw.open(bus.url, None)
    raw.send(frame(TEXT, json.dumps({"id": 1, "connect": {"token": make(bus)}}).encode()))
    code, told = await raw.end()
    raw.close()
    assert code == 4501
    assert told[0]["error"]["name"] == "unauthorized"
