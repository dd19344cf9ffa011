"""All addresses: each feature lists its own, and each view declares who may see it (promptops.web.access)."""

from django.urls import include, path, register_converter

from promptops.fleet.fragments import PageFleet
from promptops.prompts.socket import PagePresence
from promptops.runs.socket import PageRuns
from promptops.site.views import errors
from promptops.web.converters import NumberConverter
from promptops.web.socket import PageConsumer

register_converter(NumberConverter, "number")

FEATURES = ("site", "people", "prompts", "providers", "compare", "runs", "safety", "fleet", "alerts", "history", "api")

urlpatterns = [path("", include(f"promptops.{feature}.urls")) for feature in FEATURES]

handler400 = errors.bad_request
handler403 = errors.permission_denied
handler404 = errors.not_found
handler500 = errors.server_error

PAGE_PARTS = (PageRuns, PagePresence, PageFleet)
websocket_urlpatterns = [path("ws/", PageConsumer.as_asgi(parts=PAGE_PARTS))]
