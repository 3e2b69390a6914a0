"""A page in Chromium talks to a Python client with the browser's own WebSocket, in both encodings."""

import asyncio
import contextlib
import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from arqon_json import JsonClient
from arqon_pb import PbClient
from conftest import Bus, Enter

PAGE = Path(__file__).with_name("page.html").read_text()
RESULT_WITHIN = 20.0
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP evil.example 127.0.0.1",
]


class Site(ThreadingHTTPServer):
    """Serves the page, takes its result, and relays `/v1/connect` to the bus as a reverse proxy does."""

    daemon_threads = True

    def __init__(self, bus: Bus) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bus = bus
        self.page = ""
        self.results: queue.Queue[dict[str, Any]] = queue.Queue()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        if self.path == "/v1/connect":
            self.relay()
            return
        body = self.server.page.encode() if self.path == "/" else b""
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.server.results.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def relay(self) -> None:
        """The request as it came, then bytes both ways."""
        where = urlsplit(self.server.bus.url)
        self.close_connection = True
        with socket.create_connection((where.hostname, where.port or 80)) as bus:
            lines = [self.requestline, *(f"{name}: {value}" for name, value in self.headers.items()), "", ""]
            bus.sendall("\r\n".join(lines).encode())
            back = threading.Thread(target=pump, args=(bus, self.connection))
            back.start()
            pump(self.connection, bus)
            back.join()

    def log_message(self, *_: object) -> None:
        pass


def pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def site(bus: Bus) -> Iterator[Site]:
    site = Site(bus)
    serving = threading.Thread(target=site.serve_forever)
    serving.start()
    yield site
    site.shutdown()
    serving.join()
    site.server_close()


@contextlib.contextmanager
def chromium(url: str, profile: Path) -> Iterator[None]:
    """A browser that shows the page until the block ends."""
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    assert program, f"none of {', '.join(names)} is installed"
    with (profile / "log").open("wb") as log:
        browser = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}", url],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
    finally:
        # The group that was started here: the browser and its helpers.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(browser.pid, signal.SIGKILL)
        browser.wait()


async def result_of(site: Site, page_url: str, ws_url: str, profile: Path) -> dict[str, Any]:
    """What the page says in its DOM at the end."""
    site.page = PAGE.replace("@SETTINGS@", json.dumps({"url": ws_url, "token": site.bus.token}))
    with chromium(page_url, profile):
        try:
            return await asyncio.to_thread(site.results.get, timeout=RESULT_WITHIN)
        except queue.Empty:
            log = (profile / "log").read_text(errors="replace")
            raise AssertionError(f"the page said nothing within {RESULT_WITHIN} s: {log[-2000:]}") from None


async def exchange(enter: Enter, site: Site, ws_url: str, profile: Path) -> None:
    """The page publishes first, in one room with each encoding; the other side answers with both payloads."""
    # Each room is heard by a client of the other encoding than the page speaks there.
    of_json, of_pb = await enter(PbClient, "ada"), await enter(JsonClient, "ada")
    await of_json.call("subscribe", room="page.json", echo=False)
    await of_pb.call("subscribe", room="page.pb", echo=False)
    page = asyncio.create_task(result_of(site, f"http://{site.host}/", ws_url, profile))
    try:
        for client, room, said in (
            (of_json, "page.json", {"from": "page ✓"}),
            (of_pb, "page.pb", bytes([0, 127, 128, 255])),
        ):
            first = asyncio.create_task(asyncio.wait_for(client.pushes.get(), RESULT_WITHIN))
            await asyncio.wait({first, page}, return_when=asyncio.FIRST_COMPLETED)
            assert first.done(), await page
            kind, heard = first.result()
            assert (kind, heard["user"], heard["payload"]) == ("publication", "dev", said)
            answers = [{"to": "page ✓"}, bytes([1, 128, 255])]
            for answer in answers if room == "page.json" else reversed(answers):
                await client.publish(room, answer)
        told = await page
    finally:
        page.cancel()
    assert told["json"] == {
        "protocol": "arqon.v1.json",
        "user": "dev",
        "subscribed": {"id": 2, "subscribe": {"room": "page.json"}},
        "published": {"id": 3, "publish": {}},
        "heard": {"to": "page ✓"},
        "heardBytes": "AYD/",
        "pong": {"id": 4, "pong": {}},
        "closed": 1000,
    }
    assert told["pb"] == {
        "protocol": "arqon.v1.pb",
        "user": "dev",
        "subscribed": "page.pb",
        "published": True,
        "heard": [1, 128, 255],
        "heardJson": {"to": "page ✓"},
        "pong": True,
        "closed": 1000,
    }


async def test_a_page_of_the_same_host(enter: Enter, site: Site, tmp_path: Path) -> None:
    """The bus is behind the server of the page: one host and port for both."""
    await exchange(enter, site, f"ws://{site.host}/v1/connect", tmp_path)


async def test_a_page_of_a_dev_server(enter: Enter, site: Site, tmp_path: Path) -> None:
    """A dev bus lets pages of this machine in, whatever their port: where front ends are developed."""
    await exchange(enter, site, site.bus.url, tmp_path)


async def test_a_page_from_elsewhere_is_refused(bus: Bus, site: Site, tmp_path: Path) -> None:
    """Even with a valid token."""
    refused = 'arqon_shield_connects_total{result="origin"}'
    assert bus.metric(refused) == 0
    told = await result_of(site, f"http://evil.example:{site.server_port}/", bus.url, tmp_path)
    assert told == {"error": "Error: the WebSocket did not open"}
    await asyncio.to_thread(bus.await_metric, refused, 1)
