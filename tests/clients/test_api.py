"""The server API against its document, and against what only a real socket shows."""

import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from arqon_json import JsonClient
from conftest import ROOT, Bus, Enter

DOCUMENT = ROOT / "docs" / "openapi.yaml"
# Far above what the examples take.
WITHIN = 240.0
# Those that end or shut out what the others work with are asked by the other tests.
LEFT_OUT = ["/v1/shields/{shield}/drain", "/v1/tenants/{tenant}/events"]


def call(bus: Bus, method: str, path: str, token: str, body: object = None) -> tuple[int, Any]:
    """One request: status and body."""
    request = urllib.request.Request(bus.admin_url + path, method=method)
    request.add_header("authorization", f"Bearer {token}")
    data = None if body is None else json.dumps(body).encode()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, data=data, timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as refused:
        return refused.code, json.loads(refused.read())


def test_the_api_is_as_its_document_says(bus: Bus, tmp_path: Path) -> None:
    """No 500, no status and no body that the document does not have, whatever schemathesis sends."""
    # Of a tenant that no example hits by chance, so that no example revokes it.
    token = bus.token_of("schemathesis", "--admin", "bus", "--tenant", "ops-of-the-test")
    command = [
        str(Path(sys.executable).parent / "schemathesis"),
        "run",
        str(DOCUMENT),
        "--url",
        bus.admin_url,
        "--header",
        f"Authorization: Bearer {token}",
        "--phases",
        "examples,coverage,fuzzing",
        "--checks",
        "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
        "unsupported_method",
        "--max-examples",
        "10",
        "--max-time",
        "40",
        "--seed",
        "1",
        "--generation-database",
        "none",
        "--no-color",
    ]
    for path in LEFT_OUT:
        command += ["--exclude-path", path]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=WITHIN)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert json.loads(bus.get("/health/ready"))["ready"] is True


async def test_a_backend_publishes_to_a_stock_client(bus: Bus, enter: Enter) -> None:
    client = await enter(JsonClient)
    await client.call("subscribe", room="shop")
    token = bus.token_of("backend", "--admin", "tenant")
    path = "/v1/tenants/dev/rooms/shop/publish"
    assert call(bus, "POST", path, token, {"payload": {"sold": 3}}) == (200, {})
    told = await client.push("publication")
    assert (told["user"], told["payload"]) == ("backend", {"sold": 3})
    status, refused = call(bus, "POST", path, bus.token, {"payload": 1})
    assert (status, refused["name"]) == (403, "permission_denied")


def test_events_are_streamed(bus: Bus) -> None:
    token = bus.token_of("backend", "--admin", "tenant")
    host, port = bus.admin_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as stream:
        head = f"GET /v1/tenants/dev/events HTTP/1.1\r\nhost: bus\r\nauthorization: Bearer {token}\r\n\r\n"
        stream.sendall(head.encode())
        said = b""
        while b": listening" not in said:
            more = stream.recv(4096)
            assert more, said
            said += more
    assert said.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"text/event-stream" in said


@pytest.mark.parametrize("path", ["/v1/shields", "/v1/tenants/dev/rooms"])
def test_a_token_in_the_url_is_refused(bus: Bus, path: str) -> None:
    token = bus.token_of("backend", "--admin", "bus")
    status, refused = call(bus, "GET", f"{path}?access_token={token}", token)
    assert (status, refused["name"]) == (400, "bad_request")
