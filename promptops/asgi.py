"""The ASGI application: pages, machines and sockets in one process, and the tasks that run in the background."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "promptops.settings")

from django.conf import settings
from django.core.asgi import get_asgi_application

# Loads the apps, which everything imported below needs.
django_application = get_asgi_application()

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.sessions import SessionMiddlewareStack  # noqa: E402

from promptops.api.app import machines  # noqa: E402
from promptops.api.door import with_api  # noqa: E402
from promptops.fleet.socket import with_fleet  # noqa: E402
from promptops.platform.background import with_background_tasks  # noqa: E402
from promptops.urls import websocket_urlpatterns  # noqa: E402
from promptops.web.health import with_health  # noqa: E402
from promptops.web.metrics import with_requests, with_sockets  # noqa: E402
from promptops.web.origin import same_origin  # noqa: E402
from promptops.web.sub_path import without_sub_path  # noqa: E402
from promptops.web.workers import with_workers  # noqa: E402

application = with_background_tasks(
    ProtocolTypeRouter(
        {
            "http": with_requests(
                with_health(
                    without_sub_path(with_api(with_workers(django_application, settings.DATABASE_THREADS), machines))
                )
            ),
            "websocket": with_sockets(
                with_fleet(same_origin(SessionMiddlewareStack(URLRouter(websocket_urlpatterns))))
            ),
        }
    )
)
