"""The bus under test, and the protobuf classes of its clients."""

import contextlib
import itertools
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from grpc_tools import protoc

from arqon_json import JsonClient

ROOT = Path(__file__).resolve().parents[2]
STARTS_WITHIN = 10.0
# A socket whose peer never answered the close may delay the end for `close_linger` (5 s).
ENDS_WITHIN = 8.0
# The same socket delays the gauge of sockets as long.
METRIC_WITHIN = 10.0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--arq", type=Path, help="the program under test; default target/{debug,release}/arq")


def compile_proto() -> tempfile.TemporaryDirectory[str]:
    """Makes `arqon.v1.client_pb2` importable for as long as the folder is kept."""
    folder = tempfile.TemporaryDirectory(prefix="arqon-proto-")
    source = "proto/arqon/v1/client.proto"
    arguments = ["protoc", f"-I{ROOT / 'proto'}", f"--python_out={folder.name}", str(ROOT / source)]
    if protoc.main(arguments) != 0:
        raise pytest.UsageError(f"{source} does not compile")
    sys.path.insert(0, folder.name)
    return folder


COMPILED = compile_proto()  # before anything imports arqon_pb
from arqon_pb import PbClient  # noqa: E402

Enter = Callable[..., Coroutine[None, None, JsonClient]]
BOTH = [JsonClient, PbClient]


def encoding(kind: type[JsonClient]) -> str:
    return kind.subprotocol.rpartition(".")[2]


both = pytest.mark.parametrize("kind", BOTH, ids=encoding)
pairs = pytest.mark.parametrize(("one", "other"), list(itertools.product(BOTH, BOTH)), ids=encoding)


def made_token(arq: Path, user: str, *arguments: str, env: dict[str, str] | None = None) -> str:
    """A token of a user, from `arq auth gen`."""
    made = subprocess.run(
        [arq, "auth", "gen", "--sub", user, *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=STARTS_WITHIN,
    )
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


@dataclass(frozen=True)
class Bus:
    """A running `arq dev up`."""

    arq: Path
    process: subprocess.Popen[str]
    runtime_dir: Path
    url: str
    admin_url: str
    token: str

    def token_of(self, user: str, *arguments: str) -> str:
        """A token of another user; further arguments as `arq auth gen` takes them."""
        return made_token(self.arq, user, *arguments, env=environment(self.runtime_dir))

    def get(self, path: str) -> str:
        """The body of a page of the admin address."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.admin_url + path, timeout=STARTS_WITHIN) as answer:
            return str(answer.read().decode())

    def metric(self, name: str) -> float:
        """A metric by its name with its labels."""
        for line in self.get("/metrics").splitlines():
            if line.startswith(f"{name} "):
                return float(line.rpartition(" ")[2])
        raise AssertionError(f"there is no metric {name}")

    def await_metric(self, name: str, wanted: float) -> None:
        """Waits for a value: the shards sum up their counts from time to time."""
        deadline = time.monotonic() + METRIC_WITHIN
        while (value := self.metric(name)) != wanted:
            assert time.monotonic() < deadline, f"{name} is {value} instead of {wanted}"
            time.sleep(0.02)

    def resident_bytes(self) -> int:
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


def environment(runtime_dir: Path) -> dict[str, str]:
    """Of a user of its own, so that a dev bus of the developer is neither found nor disturbed."""
    return {**os.environ, "XDG_RUNTIME_DIR": str(runtime_dir)}


@pytest.fixture(scope="session")
def arq(pytestconfig: pytest.Config) -> Path:
    given: Path | None = pytestconfig.getoption("--arq")
    places = [given] if given else [ROOT / "target" / kind / "arq" for kind in ("debug", "release")]
    for place in places:
        if place.is_file():
            return place.resolve()
    pytest.fail(f"no program to test at {' or '.join(map(str, places))}: run `cargo build -p arq`")


@pytest.fixture(scope="module")
def bus(arq: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bus]:
    """A bus for one module. It must say one line, be ready, and end by SIGINT with exit code 0."""
    runtime_dir = tmp_path_factory.mktemp("runtime")
    process = subprocess.Popen(
        [arq, "dev", "up", "--json", "--port", "0"],
        env=environment(runtime_dir),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        readable, _, _ = select.select([process.stdout], [], [], STARTS_WITHIN)
        assert readable, f"no line within {STARTS_WITHIN} s"
        said = json.loads(process.stdout.readline())
        running = Bus(arq, process, runtime_dir, said["ws_url"], said["admin_url"], said["token"])
        assert json.loads(running.get("/health/ready"))["ready"] is True
        yield running
        asked = time.monotonic()
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=ENDS_WITHIN)
        assert process.returncode == 0, f"SIGINT ends it with {process.returncode}"
        assert rest == "", "--json prints one line and nothing else"
        print(f"ended within {time.monotonic() - asked:.1f} s")
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Shield:
    """A running `shield`, and what to make tokens for it with."""

    arq: Path
    folder: Path
    url: str
    admin_url: str

    def token(self, user: str, *arguments: str) -> str:
        return made_token(self.arq, user, "--key", str(self.folder / "secret"), "--kid", "test", *arguments)

    def log(self) -> str:
        return (self.folder / "log").read_text()


SECRET = "a secret of these tests alone, long enough for HS256"


@contextlib.contextmanager
def running_shield(arq: Path, folder: Path, config: str) -> Iterator[Shield]:
    """With this configuration, whose files are in the folder. It must end by SIGTERM with exit code 0."""
    (folder / "secret").write_text(SECRET)
    (folder / "config.toml").write_text(
        'shield = { listen = "127.0.0.1:0", admin_listen = "127.0.0.1:0" }\n'
        'auth.keys = [{ kid = "test", alg = "HS256", file = "secret" }]\n' + config
    )
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [arq.with_name("shield"), "--config", folder / "config.toml"],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert process.stdout is not None
        readable, _, _ = select.select([process.stdout], [], [], STARTS_WITHIN)
        line = process.stdout.readline() if readable else ""
        assert " is up: " in line, (line, (folder / "log").read_text())
        _, _, _, url, _, admin_url = line.split()
        yield Shield(arq, folder, url.rstrip(","), admin_url)
        process.terminate()
        assert process.wait(ENDS_WITHIN) == 0
    finally:
        process.kill()
        process.wait()


@pytest.fixture
async def enter(bus: Bus) -> AsyncIterator[Enter]:
    """Connects a client of one kind as a user; all are closed at the end."""
    async with contextlib.AsyncExitStack() as stack:

        async def enter(kind: type[JsonClient], user: str = "dev") -> JsonClient:
            token = bus.token if user == "dev" else bus.token_of(user)
            client = await kind.open(bus.url, token)
            stack.push_async_callback(client.close)
            return client

        yield enter
