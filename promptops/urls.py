"""Every address: each feature lists its own. Each view says itself who may see it (promptops.web.access)."""

from django.urls import include, path, register_converter

from promptops.site.views import errors
from promptops.web import consumers
from promptops.web.converters import NumberConverter

register_converter(NumberConverter, "number")

FEATURES = ("site", "people", "prompts", "providers", "compare", "runs", "safety", "history")

urlpatterns = [path("", include(f"promptops.{feature}.urls")) for feature in FEATURES]

handler400 = errors.bad_request
handler403 = errors.permission_denied
handler404 = errors.not_found
handler500 = errors.server_error

websocket_urlpatterns = [path("ws/", consumers.PageConsumer.as_asgi())]
