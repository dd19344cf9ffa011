"""nginx and Caddy with the files of the folder deploy, in front of real servers."""

import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp
import httpx

from tests.conftest import missing
from tests.services.server import ROOT, Browser, free_port

PROXIES = ("nginx", "caddy")
VISITOR = "127.0.0.2"
"""The address that visitors come from, so that it differs from the proxy's own."""
OTHERS = """
server {{
    listen {bare};
    gzip on; gzip_types text/event-stream;
    location / {{ proxy_pass http://promptops; proxy_set_header Host localhost; {ignored} }}
}}
server {{
    listen {sub_path};
    server_name localhost;
    location /promptops/ {{ proxy_pass http://promptops/; proxy_set_header X-Forwarded-Prefix /promptops; }}
    location /whole/ {{ proxy_pass http://promptops; proxy_set_header Host localhost; }}
}}
"""
NGINX = """
{user}
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
worker_processes 1;
events {{}}
http {{
    access_log off;
    gzip on; # as Debian's own nginx.conf has it
    {temporary}
    include {folder}/site.conf;
    {more}
}}
"""


class Proxy:
    """A running proxy: its address with HTTPS, and its port without.

    nginx has two more: one with sub-paths, and a bare one, which has nginx's defaults and compresses. A proxy that
    `collects` is set up to pass answers on in one piece, whatever PromptOps says.
    """

    def __init__(self, name: str, folder: Path, ports: list[int], *, collects: bool = False) -> None:
        program = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
        if program is None:
            missing(f"{name} is not installed")
        self.http_port, self.https_port, self.sub_path_port, self.bare_port = (free_port() for _ in range(4))
        self.address = f"https://localhost:{self.https_port}"
        folder.mkdir()
        command, more = getattr(self, f"_{name}")(folder, ports, collects)
        self._process = subprocess.Popen(
            [str(program), *command], env=os.environ | more, stderr=(folder / "log").open("w"), stdin=subprocess.DEVNULL
        )
        until = time.monotonic() + 60
        while True:
            try:
                if httpx.get(f"{self.address}/readyz", verify=False).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            if time.monotonic() > until or self._process.poll() is not None:
                self.end()
                raise AssertionError((folder / "log").read_text())
            time.sleep(0.1)

    def _nginx(self, folder: Path, ports: list[int], collects: bool) -> tuple[list[str], dict[str, str]]:
        make_certificate(folder)
        site = (ROOT / "deploy" / "nginx.conf").read_text()
        servers = "\n".join(f"    server 127.0.0.1:{port} fail_timeout=5s;" for port in ports)
        for old, new in (
            (r"^ +listen \[::\].*\n", ""),
            (r"listen 80;", f"listen 127.0.0.1:{self.http_port};"),
            (r"listen 443 ", f"listen 127.0.0.1:{self.https_port} "),
            (r"prompts\.example\.org", "localhost"),
            (r"/etc/ssl/promptops", str(folder)),
            (r"^ +server 127\.0\.0\.1:8000 fail_timeout=5s;", servers),
        ):
            site, count = re.subn(old, new, site, flags=re.M)
            assert count, old
        (folder / "site.conf").write_text(site)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        text = NGINX.format(
            user="user root;" if os.geteuid() == 0 else "",
            folder=folder,
            temporary="".join(f"{kind}_temp_path {folder}/{kind}; " for kind in kinds),
            more=OTHERS.format(
                sub_path=f"127.0.0.1:{self.sub_path_port}",
                bare=f"127.0.0.1:{self.bare_port}",
                ignored="proxy_ignore_headers X-Accel-Buffering;" if collects else "",
            ),
        )
        (folder / "nginx.conf").write_text(text)
        return ["-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"], {}

    def _caddy(self, folder: Path, ports: list[int], collects: bool) -> tuple[list[str], dict[str, str]]:
        text = (ROOT / "deploy" / "Caddyfile").read_text()
        (folder / "Caddyfile").write_text(
            text.replace("health_uri", "buffer_responses\n\t\thealth_uri") if collects else text
        )
        return ["run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"], {
            "PROMPTOPS_SITE": "localhost",
            "PROMPTOPS_PROCESSES": " ".join(f"127.0.0.1:{port}" for port in ports),
            "HTTP_PORT": str(self.http_port),
            "HTTPS_PORT": str(self.https_port),
            "CADDY_ADMIN": f"127.0.0.1:{free_port()}",
            "XDG_DATA_HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder),
        }

    def visitor(self, **headers: str) -> Browser:
        """Return a browser whose requests come from VISITOR, with these headers."""
        browser = Browser(self.address)
        browser.client.close()
        transport = httpx.HTTPTransport(verify=False, local_address=VISITOR)
        names = {"Referer": self.address} | {name.replace("_", "-"): value for name, value in headers.items()}
        browser.client = httpx.Client(base_url=self.address, transport=transport, timeout=60, headers=names)
        return browser

    @asynccontextmanager
    async def socket(self, path: str, **more: object) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Open a WebSocket."""
        unverified = ssl.create_default_context()
        unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
        async with (
            aiohttp.ClientSession(**more) as session,  # type: ignore[arg-type]
            session.ws_connect(f"wss://localhost:{self.https_port}{path}", ssl=unverified) as opened,
        ):
            yield opened

    def end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)


def make_certificate(folder: Path) -> None:
    """Make a certificate of its own for localhost."""
    if not shutil.which("openssl"):
        missing("openssl is not installed")
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    files = ["-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem")]
    subprocess.run(["openssl", "req", *kind, *files, "-subj", "/CN=localhost"], check=True, capture_output=True)


@contextmanager
def proxying(name: str, folder: Path, ports: list[int], *, collects: bool = False) -> Iterator[Proxy]:
    """Run the proxy in front of the servers at these ports."""
    proxy = Proxy(name, folder, ports, collects=collects)
    try:
        yield proxy
    finally:
        proxy.end()


def reaches(port: int) -> bool:
    """Return whether somebody listens on the port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
