"""One client that stops reading, in a room where the others go on."""

import asyncio
import socket
from urllib.parse import urlsplit

from arqon_json import JsonClient
from arqon_pb import PbClient
from conftest import Bus, Enter

PUBLISHERS = 4
# Together 6.4 MB: more than the largest send buffer of Linux by default (4 MiB), the small receive buffer and
# egress_bytes_max (256 KiB). Each publisher stays below publish_burst (200).
EACH = 40
SIZE = 40_000


async def open_slow(bus: Bus) -> JsonClient:
    """A client with a small receive buffer, whose library holds one frame and then reads no more."""
    where = urlsplit(bus.url)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (where.hostname, where.port))
    return await PbClient.open(bus.url, bus.token, sock=sock, max_queue=1)


async def test_who_stops_reading_is_told_and_closed_and_nobody_else_notices(bus: Bus, enter: Enter) -> None:
    room = "busy"
    slow = await open_slow(bus)
    await slow.call("subscribe", room=room)
    readers = [await enter(kind, "reader") for kind in (JsonClient, PbClient)]
    publishers = [await enter(PbClient) for _ in range(PUBLISHERS)]
    for client in readers + publishers:
        await client.call("subscribe", room=room)

    slow.ws.transport.pause_reading()

    async def publish(client: JsonClient) -> None:
        for number in range(EACH):
            await client.publish(room, number.to_bytes(4, "big") + bytes(SIZE))

    await asyncio.gather(*map(publish, publishers))
    for name in ("arqon_shield_slow_consumers_total", 'arqon_shield_closes_total{code="slow_consumer"}'):
        await asyncio.to_thread(bus.await_metric, name, 1)

    for client in readers + publishers:
        heard: dict[str, list[int]] = {p.welcome["session"]: [] for p in publishers}
        for _ in range(PUBLISHERS * EACH):
            publication = await client.push("publication")
            heard[publication["session"]].append(int.from_bytes(publication["payload"][:4], "big"))
        assert all(numbers == list(range(EACH)) for numbers in heard.values())
        assert client.pushes.empty()

    slow.ws.transport.resume_reading()
    before = 0
    while (push := await asyncio.wait_for(slow.pushes.get(), 10))[0] == "publication":
        before += 1
    assert before < PUBLISHERS * EACH, "it did not hear everything"
    kind, fields = push
    assert kind == "disconnect"
    assert (fields["code"], fields["name"], fields["reconnect"]) == (4001, "slow_consumer", True)
    assert await slow.push("closed") == {"code": 4001}
