"""Chromium by its own protocol: open a page in a window of a known size, ask it things, take its picture."""

import asyncio
import base64
import contextlib
import json
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

WIDTH, HEIGHT = 1280, 800
ANSWERS_WITHIN = 30.0
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
]


class Tab:
    """One page; whatever it logs as an error is in `errors`."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.errors: list[str] = []
        self.last = 0

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        self.last += 1
        await self.socket.send(json.dumps({"id": self.last, "method": method, "params": params}))
        return await self.until(lambda said: said.get("id") == self.last)

    async def until(self, wanted: Any) -> dict[str, Any]:
        """Reads on to the first message that is wanted, and writes down errors on the way."""
        async with asyncio.timeout(ANSWERS_WITHIN):
            while True:
                said: dict[str, Any] = json.loads(await self.socket.recv())
                self.note(said)
                if wanted(said):
                    assert "error" not in said, said
                    return said

    def note(self, said: dict[str, Any]) -> None:
        method, params = said.get("method"), said.get("params", {})
        thrown = method == "Runtime.exceptionThrown"
        console = method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert")
        logged = method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning")
        if thrown or console or logged:
            self.errors.append(json.dumps(params))

    async def evaluate(self, script: str) -> Any:
        told = (await self.call("Runtime.evaluate", expression=script, returnByValue=True))["result"]
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    async def screenshot(self, path: Path) -> None:
        told = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(told["result"]["data"]))


@contextlib.asynccontextmanager
async def shown(page: Path, profile: Path) -> AsyncIterator[Tab]:
    """A tab of 1280x800 that has loaded the page; the browser ends with the block."""
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    assert program, f"none of {', '.join(names)} is installed"
    browser = await asyncio.create_subprocess_exec(
        program,
        *FLAGS,
        f"--user-data-dir={profile}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(ANSWERS_WITHIN):
            port = await port_of(browser)
        async with connect(f"ws://127.0.0.1:{port}", max_size=None, proxy=None) as socket:
            yield await opened(Tab(socket), port, page)
    finally:
        # The group that was started here: the browser and its helpers.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(browser.pid, signal.SIGKILL)
        await browser.wait()


async def port_of(browser: asyncio.subprocess.Process) -> str:
    """The browser's address, with its secret path, once it says so."""
    assert browser.stderr is not None
    said = b""
    while line := await browser.stderr.readline():
        said += line
        if found := re.search(rb"DevTools listening on ws://[^:]+:(\S+)", line):
            return found[1].decode()
    raise AssertionError(f"the browser ended: {said.decode(errors='replace')[-2000:]}")


async def opened(browser: Tab, port: str, page: Path) -> Tab:
    """Turns the connection to the browser into one to its tab, by the address of the tab."""
    targets = (await browser.call("Target.getTargets"))["result"]["targetInfos"]
    target = next(info["targetId"] for info in targets if info["type"] == "page")
    number = port.split("/", 1)[0]
    socket = await connect(f"ws://127.0.0.1:{number}/devtools/page/{target}", max_size=None, proxy=None)
    tab = Tab(socket)
    for domain in ("Page", "Runtime", "Log"):
        await tab.call(f"{domain}.enable")
    await tab.call(
        "Emulation.setDeviceMetricsOverride", width=WIDTH, height=HEIGHT, deviceScaleFactor=1, mobile=False
    )
    await tab.call("Page.navigate", url=page.resolve().as_uri())
    await tab.until(lambda said: said.get("method") == "Page.loadEventFired")
    return tab
