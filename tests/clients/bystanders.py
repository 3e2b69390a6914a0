"""Two who keep the rules, beside those who do not."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator

from arqon_json import JsonClient
from arqon_pb import PbClient
from conftest import Bus

ROUND_TRIP_MAX = 1.0
# What the allocator may keep of the megabytes that pass through.
GROWTH_MAX = 8 * 1024 * 1024
SOCKETS = "arqon_shield_sockets"


class Pair(threading.Thread):
    """Two well-behaved clients in a thread of their own, who answer each other until told to stop."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(name="pair")
        self.bus = bus
        self.ready, self.enough = threading.Event(), threading.Event()
        self.trips: list[float] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            asyncio.run(self.exchange())
        except BaseException as error:
            self.error = error
        finally:
            self.ready.set()

    async def exchange(self) -> None:
        ada = await JsonClient.open(self.bus.url, self.bus.token)
        bob = await PbClient.open(self.bus.url, self.bus.token)
        for client, room in ((ada, "pair.ada"), (bob, "pair.bob")):
            await client.call("subscribe", room=room)
        while not self.enough.is_set():
            number, sent = len(self.trips), time.monotonic()
            await ada.publish("pair.bob", number)
            await bob.publish("pair.ada", (await bob.push("publication"))["payload"])
            assert (await ada.push("publication"))["payload"] == number, "nothing is lost"
            self.trips.append(time.monotonic() - sent)
            self.ready.set()
            await asyncio.sleep(0.02)  # the pace: half of publish_rate_per_s
        await ada.close()
        await bob.close()


@contextlib.contextmanager
def bystanders(bus: Bus) -> Iterator[Pair]:
    """A pair that goes on meanwhile, loses nothing and waits for nothing; afterwards nothing is left of the others."""
    pair = Pair(bus)
    pair.start()
    try:
        assert pair.ready.wait(10) and pair.error is None, pair.error
        bus.await_metric(SOCKETS, 2)
        before = bus.resident_bytes()
        yield pair
        bus.await_metric(SOCKETS, 2)
        grown = bus.resident_bytes() - before
        assert grown < GROWTH_MAX, f"the process grew by {grown} bytes"
    finally:
        pair.enough.set()
        pair.join(10)
    assert pair.error is None, pair.error
    assert max(pair.trips) < ROUND_TRIP_MAX
    print(f"{len(pair.trips)} round trips, worst {max(pair.trips) * 1e3:.0f} ms, {grown >> 10} KiB grown")
