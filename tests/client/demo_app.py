"""A demo app's protocol on loopback: it reads four files, and GET and POST `/prompt-system-config` show their texts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

KEYS = (
    "next_segment_system_prompt",
    "auto_extension_system_prompt",
    "rewrite_window_system_prompt",
    "rewrite_user_system_prompt",
)
LIE = "Write about cats."
LAYOUT = {
    "next_segment_system_prompt.md": "enhance",
    "auto_extension_system_prompt.md": "auto_extend",
    "rewrite_window_system_prompt.md": "rewrite",
    "rewrite_user_system_prompt.md": "rewrite",
}


@dataclass
class DemoApp:
    """The app. `fault` is "", "refuses", "hangs", "lies", "silent" (no texts in the answer) or "moves"."""

    folder: Path
    url: str = ""
    fault: str = ""
    posts: list[Any] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    used: dict[str, str] = field(default_factory=dict)
    port: int = 0

    def reload(self) -> None:
        """Read the files; an empty or missing one is an error, and the texts before stay."""
        texts = {key: (self.folder / f"{key}.md").read_text(encoding="utf-8").strip() for key in KEYS}
        if not all(texts.values()):
            raise web.HTTPInternalServerError
        self.used = texts

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Show what is used."""
        self.headers.append(dict(request.headers))
        if self.fault == "hangs":
            await asyncio.sleep(60)
        if self.fault == "silent":
            return web.json_response(["nothing"])
        if self.fault == "moves":
            raise web.HTTPFound("https://elsewhere.example/")
        texts = self.used | ({KEYS[0]: LIE} if self.fault == "lies" else {})
        paths = {f"{key}_path": str(self.folder / f"{key}.md") for key in KEYS}
        return web.json_response(texts | paths | {"rewrite_temperature": 1.0})

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Reload."""
        self.posts.append(await request.json())
        if self.fault == "refuses":
            return web.json_response({"detail": "The prompt file is empty"}, status=500)
        self.reload()
        return await self.get(request)


@asynccontextmanager
async def demo_app(folder: Path, **values: Any) -> AsyncGenerator[DemoApp, None]:
    """Serve the app, on a free port or on `port`."""
    app = DemoApp(folder, **values)
    site_app = web.Application()
    site_app.router.add_get("/prompt-system-config", app.get)
    site_app.router.add_post("/prompt-system-config", app.post)
    runner = web.AppRunner(site_app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", app.port)
    await site.start()
    app.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    app.url = f"http://127.0.0.1:{app.port}/prompt-system-config"
    try:
        yield app
    finally:
        await runner.cleanup()
