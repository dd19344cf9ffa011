"""Addresses of the audit, the timeline and revisions."""

from django.urls import path

from promptops.history.views import audit, timeline

urlpatterns = [
    path("audit/", audit.index, name="audit"),
    path("audit/verify/", audit.verify, name="audit_verify"),
    path("audit/export/", audit.export, name="audit_export"),
    path("audit/<number:seq>/", audit.detail, name="audit_entry"),
    path("timeline/", timeline.index, name="timeline"),
    path("timeline/since/<number:revision>/", timeline.since, name="releases_since"),
    path("revisions/<number:revision>/", timeline.revision, name="revision"),
]
