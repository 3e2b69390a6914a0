"""The end of the bus, as its clients see it."""

import asyncio
import signal

from arqon_json import JsonClient
from conftest import BOTH, Bus, Enter, encoding


async def test_clients_are_told_and_closed_with_4000(bus: Bus, enter: Enter) -> None:
    """That the process then ends with exit code 0 is seen by the fixture."""
    clients: list[JsonClient] = [await enter(kind) for kind in BOTH for _ in range(3)]
    for client in clients:
        await client.call("subscribe", room=f"drain.{encoding(type(client))}")
    bus.process.send_signal(signal.SIGINT)
    for told in await asyncio.gather(*(client.push("disconnect") for client in clients)):
        assert (told["code"], told["name"], told["reconnect"]) == (4000, "draining", True)
        assert told["retry_after_ms"] > 0
    for client in clients:
        assert await client.push("closed") == {"code": 4000}
