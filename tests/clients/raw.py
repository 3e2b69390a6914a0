"""A WebSocket client by hand, for what a library would never send."""

import asyncio
import base64
import json
import os
import struct
from typing import Any, Self
from urllib.parse import urlsplit

from arqon_json import DEADLINE, Fields

TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9


def frame(
    opcode: int, payload: bytes, *, first: int | None = None, mask: bool = True, length: bytes | None = None
) -> bytes:
    """One frame; `first` and `length` overrule the first byte and the length with its marker byte."""
    size = len(payload)
    if length is None:
        if size < 126:
            length = bytes([size])
        elif size < 65536:
            length = struct.pack(">BH", 126, size)
        else:
            length = struct.pack(">BQ", 127, size)
    head = bytes([0x80 | opcode if first is None else first])
    if not mask:
        return head + length + payload
    # The mask of zeros is a mask: the payload stays readable here.
    return head + bytes([length[0] | 0x80]) + length[1:] + bytes(4) + payload


def request(url: str, *headers: str, path: str | None = None) -> bytes:
    """An upgrade request."""
    where = urlsplit(url)
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        f"GET {path or where.path} HTTP/1.1",
        f"Host: {where.netloc}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        *headers,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Raw:
    """A TCP connection to the bus."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def dial(cls, url: str) -> Self:
        where = urlsplit(url)
        return cls(*await asyncio.open_connection(where.hostname, where.port))

    @classmethod
    async def open(cls, url: str, token: str | None, subprotocol: str = "arqon.v1.json") -> Self:
        """Upgraded, and connected if there is a token."""
        raw = await cls.dial(url)
        headers = [f"Sec-WebSocket-Protocol: {subprotocol}"]
        if token is not None:
            headers.append(f"Authorization: Bearer {token}")
        raw.send(request(url, *headers))
        status, _ = await raw.answer()
        assert status == 101
        return raw

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> tuple[int, Any]:
        """The status of the HTTP answer and its JSON body, None after an upgrade."""
        async with asyncio.timeout(DEADLINE):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            status = int(head.split(" ")[1])
            if status == 101:
                return status, None
            [length] = [h for h in head.lower().split("\r\n") if h.startswith("content-length:")]
            body = await self.reader.readexactly(int(length.split(":")[1]))
            return status, json.loads(body)

    async def frames(self) -> list[tuple[int, bytes]]:
        """Whatever the server sends until it closes or has sent its close frame: opcodes and payloads."""
        found: list[tuple[int, bytes]] = []
        async with asyncio.timeout(2 * DEADLINE):
            while not found or found[-1][0] != CLOSE:
                try:
                    found.append(await self.next())
                except (asyncio.IncompleteReadError, ConnectionError):
                    break
        return found

    async def next(self) -> tuple[int, bytes]:
        async with asyncio.timeout(2 * DEADLINE):
            first, size = await self.reader.readexactly(2)
            if size == 126:
                (size,) = struct.unpack(">H", await self.reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack(">Q", await self.reader.readexactly(8))
            return first & 0x0F, await self.reader.readexactly(size)

    async def end(self) -> tuple[int | None, list[Fields]]:
        """The close code, and the frames of the JSON session before it."""
        frames = await self.frames()
        texts = [payload for opcode, payload in frames if opcode == TEXT]
        told = [json.loads(line) for text in texts for line in text.split(b"\n") if line]
        code = None
        if frames and frames[-1][0] == CLOSE:
            (code,) = struct.unpack(">H", frames[-1][1][:2])
        return code, told

    def close(self) -> None:
        self.writer.close()
