"""What a Shield writes down: who was refused what and why, and nobody's secrets."""

import asyncio
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from arqon_json import DEADLINE, JsonClient, Refused
from conftest import SECRET, Shield, running_shield

PLANTED = "planted-4711"

CONFIG = """
log = { level = "trace", format = "json" }
limits = { tenant_publish_rate_per_s = 3 }

[[policies]]
name = "denies"
file = "denies.wat"
match = "judged.>"
"""

# Denies with 1001 and, for a reason, what it has seen.
DENIES = """(module
  (memory (export "memory") 1)
  (data (i32.const 16) "\\01\\00\\e9\\03planted-4711")
  (func (export "arqon_abi_v1"))
  (func (export "arqon_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "arqon_evaluate") (param i32 i32) (result i64) (i64.const 0x1000000010)))
"""


def order(shield: Shield, path: str, token: str, body: dict[str, Any]) -> int:
    """The status of one order to the server API."""
    request = urllib.request.Request(
        shield.admin_url + path,
        data=json.dumps(body).encode(),
        headers={"authorization": f"Bearer {token}", "content-type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


async def refused(client: JsonClient, command: str, **fields: Any) -> str:
    with pytest.raises(Refused) as caught:
        await client.call(command, **fields)
    return caught.value.name


async def close_code(client: JsonClient) -> int:
    """Of a client that is closed, whatever else it hears before."""
    while True:
        kind, fields = await asyncio.wait_for(client.pushes.get(), DEADLINE)
        if kind == "closed":
            return int(fields["code"])


async def test_denials_are_written_down_and_secrets_are_not(arq: Path, tmp_path: Path) -> None:
    (tmp_path / "denies.wat").write_text(DENIES)
    with running_shield(arq, tmp_path, CONFIG) as shield:
        ada = shield.token("ada", "--room", "lobby", "judged.*", "--tenant", "acme")
        client = await JsonClient.open(shield.url, ada)
        secret = {"password": PLANTED}
        assert await refused(client, "publish", room="attic", payload=secret) == "permission_denied"
        assert await refused(client, "publish", room="judged.a", payload=secret) == "policy_denied"
        await client.call("subscribe", room="lobby", track=secret)
        for n in range(2):
            await client.call("publish", room="lobby", payload=secret, msg_id=f"{PLANTED}-{n}")
        assert await refused(client, "publish", room="lobby", payload=secret) == "rate_limited"
        other = shield.token("eve", "--tenant", "acme")
        assert await refused(client, "refresh", token=other) == "identity_changed"
        forged = ada[:-4] + "AAAA"
        assert await refused(await JsonClient.start(shield.url), "connect", token=forged) == "unauthorized"
        admin = shield.token("root", "--tenant", "acme", "--admin", "tenant")
        kick = "/v1/tenants/acme/kick"
        assert order(shield, kick, admin, {"user": "ada", "reason": "for a test"}) == 200
        assert order(shield, kick, ada, {"user": "ada"}) == 403
        assert await close_code(client) == 4503

    lines = [json.loads(line) for line in shield.log().splitlines()]
    events = [line for line in lines if line["target"] == "audit"]

    def one(**wanted: Any) -> dict[str, Any]:
        found = [event for event in events if wanted.items() <= event.items()]
        assert len(found) == 1, (wanted, events)
        return found[0]

    command = {"message": "a command was refused", "tenant": "acme", "user": "ada"}
    one(**command, command="publish", room="attic", code="permission_denied")
    assert one(**command, code="rate_limited")["why"] == "tenant_publish_rate_per_s is 3"
    one(**command, command="refresh", code="identity_changed")
    one(message="a command was refused", command="connect", code="unauthorized")
    assert one(message="a policy denies", policy="denies", sender="ada", code=1001)["module"]
    assert "for a test" in one(message="an operator gives an order", user="root")["order"]
    one(message="an operator was not let in", user="ada")
    for planted in (PLANTED, SECRET, ada, other, forged, admin):
        assert planted not in shield.log()
