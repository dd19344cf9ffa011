"""Faults under TLS: a real server on loopback with a self-signed certificate."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from promptops.engine import LLMTimeoutError, OpenAICompatibleProvider, complete_chain, http, run_chain
from tests.engine.helpers import (
    STREAM_HEAD,
    FakeProvider,
    answer_with,
    ask,
    collect,
    completion,
    delta,
    hang,
    http_answer,
    loopback,
    part,
    quickest,
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    """Return a key and a self-signed certificate for 127.0.0.1."""
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")]),
    )
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    path.write_bytes(
        made.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    """Return the TLS context of the server."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusted(certificate: Path, monkeypatch) -> None:
    """Trust the certificate as an operator would: by `SSL_CERT_FILE`."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setattr(http, "_ssl_context", None)
    http.shared_ssl_context()  # reading it takes time that no deadline below should pay for


async def drip(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.005)


async def test_an_answer_over_a_kept_connection(tls, trusted):
    async with loopback(answer_with(http_answer(completion())), tls) as server:
        for _ in range(2):
            assert (await OpenAICompatibleProvider(server.url).complete(ask())).content == "a red fox"
        assert server.connections == 1


@pytest.mark.parametrize(
    "respond",
    [answer_with(then=hang()), drip, answer_with(STREAM_HEAD, part(delta(reasoning="hm")), then=hang())],
    ids=["silent", "dripping", "stalled stream"],
)
async def test_a_run_ends_with_its_deadline_and_its_socket_is_closed_without_waiting_for_the_other_side(
    respond, tls, trusted
):
    async with loopback(respond, tls) as server:

        async def run() -> None:
            with pytest.raises(LLMTimeoutError):
                await collect(run_chain(ask(), [OpenAICompatibleProvider(server.url)], timeout_ms=200))
            await server.wait_closed()

        assert 0.195 <= await quickest(run, good=0.25) <= 0.25


async def test_a_handshake_that_never_ends():
    open_now: set[asyncio.StreamWriter] = set()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_now.add(writer)
        while await reader.read(1000):
            pass
        open_now.discard(writer)
        writer.close()

    listening = await asyncio.start_server(silent, "127.0.0.1", 0)
    address = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
    try:
        response = await complete_chain(
            ask(), [OpenAICompatibleProvider(address, timeout_ms=150), FakeProvider("good")], timeout_ms=5000
        )
        assert (response.attempts[0].error_kind, response.attempts[0].connect_ms) == ("timeout", None)
        async with asyncio.timeout(0.3):
            while open_now:  # noqa: ASYNC110 - the server's own state, in a test
                await asyncio.sleep(0.002)
    finally:
        listening.close()
        await http.close_client()


async def test_an_untrusted_certificate_falls_back_and_gets_no_key(tls):
    async with loopback(answer_with(http_answer(completion())), tls) as server:
        provider = OpenAICompatibleProvider(server.url, "acme", api_key="sk-secret")
        response = await complete_chain(ask(), [provider, FakeProvider("good")], timeout_ms=5000)
        assert (response.provider, response.attempts[0].error_kind) == ("good", "transport")
        assert "TLS certificate" in response.attempts[0].message
        assert server.requests == []
