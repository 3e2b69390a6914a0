"""A client of `arqon.v1.json`, written from docs/protocol.md alone."""

import asyncio
import base64
import contextlib
import itertools
import json
from typing import Any, ClassVar, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

Fields = dict[str, Any]
DEADLINE = 10.0


class Refused(Exception):
    """The reply was an `error`; `name` is its name."""

    def __init__(self, error: Fields) -> None:
        super().__init__(f"{error['name']}: {error['message']}")
        self.name: str = error["name"]
        self.error = error


class JsonClient:
    """One connection. Pushes wait in `pushes` as (kind, fields); the last is ("closed", {"code"})."""

    subprotocol: ClassVar[str] = "arqon.v1.json"

    def __init__(self, ws: ClientConnection) -> None:
        self.ws, self.welcome = ws, Fields()
        self.pushes: asyncio.Queue[tuple[str, Fields]] = asyncio.Queue()
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Fields]] = {}
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, url: str, **options: Any) -> Self:
        """Only the upgrade; options as the WebSocket library has them."""
        options.setdefault("subprotocols", [cls.subprotocol])
        return cls(await connect(url, proxy=None, max_size=None, **options))

    @classmethod
    async def open(cls, url: str, token: str | None, **options: Any) -> Self:
        """Connects and sends `connect`; without a token if the upgrade request in `options` has it."""
        client = await cls.start(url, **options)
        client.welcome = await client.call("connect", **({"token": token} if token else {}))
        return client

    async def call(self, kind: str, **fields: Any) -> Fields:
        """Sends a command and returns its reply; raises `Refused` or ConnectionError."""
        id_ = next(self._ids)
        reply = self._waiting[id_] = asyncio.get_running_loop().create_future()
        try:
            await self.ws.send(self.encode(id_, kind, fields))
            return await asyncio.wait_for(reply, DEADLINE)
        finally:
            del self._waiting[id_]

    async def publish(self, room: str, payload: Any, **fields: Any) -> Fields:
        """`bytes` go as bytes, anything else as JSON."""
        return await self.call("publish", room=room, payload=payload, **fields)

    async def push(self, kind: str) -> Fields:
        """The next push, which must be of this kind."""
        got, fields = await asyncio.wait_for(self.pushes.get(), DEADLINE)
        assert got == kind, f"{got} instead of {kind}: {fields}"
        return fields

    async def close(self) -> None:
        await self.ws.close()
        await self._reader

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                for id_, kind, fields in self.decode(await self.ws.recv()):
                    if not id_:
                        self.pushes.put_nowait((kind, fields))
                    elif kind == "error":
                        self._waiting[id_].set_exception(Refused(fields))
                    else:
                        self._waiting[id_].set_result(fields)
        self.pushes.put_nowait(("closed", {"code": self.ws.close_code}))
        for reply in self._waiting.values():
            reply.set_exception(ConnectionError(f"closed with {self.ws.close_code}"))

    def encode(self, id_: int, kind: str, fields: Fields) -> str | bytes:
        if isinstance(fields.get("payload"), bytes):
            fields["bytes"] = base64.b64encode(fields.pop("payload")).decode()
        elif kind == "publish":
            fields["data"] = fields.pop("payload")
        return json.dumps({"id": id_, kind: fields}, ensure_ascii=False)

    def decode(self, message: str | bytes) -> list[tuple[int, str, Fields]]:
        assert isinstance(message, str), "the JSON encoding is text"
        found = []
        for line in filter(None, message.split("\n")):
            frame = json.loads(line)
            id_ = frame.pop("id", 0)
            [(kind, fields)] = frame.items()
            if "bytes" in fields:
                fields["payload"] = base64.b64decode(fields.pop("bytes"), validate=True)
            elif "data" in fields:
                fields["payload"] = fields.pop("data")
            found.append((id_, kind, fields))
        return found
