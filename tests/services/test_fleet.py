"""Servers at the real server: many from one address, and what they hear when it stops."""

import signal

import aiohttp

from promptops.fleet.connections import RESTARTING
from tests.services.server import make_database, manage, serving

MOST = 5
SERVERS = 3 * MOST
FACTS = {"type": "register", "instance": "1", "kind": "library", "state": "ready", "revision": None}


async def test_a_fleet_from_one_address_connects_and_is_sent_away_when_the_server_stops(tmp_path) -> None:
    make_database(tmp_path)
    token = manage(tmp_path, "create_token", "fleet", "--scope", "follow").stdout.split()[-1]
    headers = {"Authorization": f"Bearer {token}"}
    with serving(tmp_path, CONNECTIONS_PER_ADDRESS=str(MOST)) as server:
        async with aiohttp.ClientSession(server.address, headers=headers) as session:
            sockets = []
            for number in range(SERVERS):
                socket = await session.ws_connect("/ws/v1/fleet")
                await socket.send_json(FACTS | {"server": f"gpu-{number}"})
                assert (await socket.receive_json(timeout=10))["type"] == "registered"
                sockets.append(socket)
            async with session.get("/livez") as page:
                assert page.status == 200
            server.process.send_signal(signal.SIGTERM)
            for socket in sockets:
                while not socket.closed:
                    await socket.receive(timeout=10)
                assert socket.close_code == RESTARTING
        assert server.process.wait(8) == 0
    assert "Traceback" not in server.output
