"""A Shield with TLS, as OpenSSL and a stock client see it."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from websockets.exceptions import InvalidHandshake

from arqon_json import JsonClient
from conftest import Shield, both, running_shield


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def shield(arq: Path, authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shield]:
    """It asks clients for a certificate."""
    folder = tmp_path_factory.mktemp("tls")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(folder / "bus.pem"))
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    config = 'tls = { cert_file = "bus.pem", key_file = "bus.pem", client_ca_file = "ca.pem" }'
    with running_shield(arq, folder, config) as shield:
        assert shield.url.startswith("wss://")
        yield shield


def believing(authority: trustme.CA) -> ssl.SSLContext:
    """Of a client that believes this authority alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context


@both
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_stock_client_talks_over_tls(
    shield: Shield, authority: trustme.CA, kind: type[JsonClient], version: ssl.TLSVersion
) -> None:
    context = believing(authority)
    context.minimum_version = context.maximum_version = version
    authority.issue_cert("ada@example.org").configure_cert(context)
    ada = await kind.open(shield.url, shield.token("ada"), ssl=context)
    bob = await kind.open(shield.url, shield.token("bob"), ssl=context)
    for client in (ada, bob):
        await client.call("subscribe", room="lobby")
    large = "x" * 50_000
    await ada.call("publish", room="lobby", payload=large)
    assert (await bob.push("publication"))["payload"] == large
    await ada.close()
    await bob.close()


async def test_who_shows_no_certificate_is_hung_up_on(shield: Shield, authority: trustme.CA) -> None:
    # With TLS 1.3 a client learns only behind its own handshake that it is not let in.
    with pytest.raises((ssl.SSLError, ConnectionError, InvalidHandshake)):
        await JsonClient.open(shield.url, shield.token("eve"), ssl=believing(authority))


async def test_the_authority_of_somebody_else_is_not_that_of_the_shield(shield: Shield) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        await JsonClient.open(shield.url, shield.token("eve"), ssl=believing(trustme.CA()))


async def test_old_versions_are_refused(shield: Shield, authority: trustme.CA) -> None:
    context = believing(authority)
    with pytest.warns(DeprecationWarning):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        await JsonClient.open(shield.url, shield.token("eve"), ssl=context)
