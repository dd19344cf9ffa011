"""Every address. Each view says itself who may see it (promptops.web.access)."""

from django.urls import path, register_converter
from django.urls.converters import IntConverter

from promptops.web import consumers
from promptops.web.views import (
    accounts,
    audit,
    comparisons,
    errors,
    overview,
    people,
    prompts,
    providers,
    runs,
    settings,
)


class NumberConverter(IntConverter):
    """A whole number that fits into the database; a longer one is simply not found."""

    regex = "[0-9]{1,18}"


register_converter(NumberConverter, "number")

urlpatterns = [
    path("", overview.overview, name="overview"),
    path("live-badge/", overview.badge, name="live_badge"),
    path("healthz", errors.health, name="health"),
    # People signing in
    path("sign-in/", accounts.sign_in, name="sign_in"),
    path("sign-out/", accounts.sign_out, name="sign_out"),
    path("setup/<str:token>/", accounts.setup, name="setup"),
    path("join/<str:token>/", accounts.join, name="join"),
    path("password/<str:token>/", accounts.password_by_link, name="password_by_link"),
    path("account/password/", accounts.password_change, name="password"),
    # Prompts
    path("prompts/", prompts.index, name="prompts"),
    path("prompts/new/", prompts.new, name="template_new"),
    path("prompts/<slug:name>/", prompts.edit, name="template"),
    path("prompts/<slug:name>/draft/", prompts.draft, name="template_draft"),
    path("prompts/<slug:name>/discard/", prompts.discard, name="template_discard"),
    path("prompts/<slug:name>/review/", prompts.review, name="template_review"),
    path("prompts/<slug:name>/publish/", prompts.publish, name="template_publish"),
    path("prompts/<slug:name>/history/", prompts.history, name="template_history"),
    path("prompts/<slug:name>/diff/", prompts.diff, name="template_diff"),
    path("prompts/<slug:name>/details/", prompts.details, name="template_details"),
    path("prompts/<slug:name>/default/", prompts.make_default, name="template_default"),
    path("prompts/<slug:name>/archive/", prompts.archive, name="template_archive"),
    path("prompts/<slug:name>/restore/", prompts.restore, name="template_restore"),
    path("prompts/<slug:name>/v<number:number>/", prompts.version, name="version"),
    path("prompts/<slug:name>/v<number:number>/live/", prompts.roll_back, name="version_live"),
    path("prompts/<slug:name>/v<number:number>/edit/", prompts.edit_from, name="version_edit"),
    # Providers
    path("providers/", providers.index, name="providers"),
    path("providers/order/", providers.reorder, name="provider_order"),
    path("providers/new/", providers.new, name="provider_new"),
    path("providers/<number:pk>/", providers.edit, name="provider"),
    path("providers/<number:pk>/key/", providers.key, name="provider_key"),
    path("providers/<number:pk>/enabled/", providers.enabled, name="provider_enabled"),
    path("providers/<number:pk>/remove/", providers.remove, name="provider_remove"),
    # Comparisons
    path("compare/", comparisons.index, name="comparisons"),
    path("compare/new/", comparisons.new, name="comparison_new"),
    path("compare/<number:pk>/", comparisons.detail, name="comparison"),
    path("compare/<number:pk>/step/", comparisons.step, name="comparison_step"),
    # Runs
    path("runs/", runs.index, name="runs"),
    path("runs/<number:pk>/", runs.detail, name="run"),
    path("runs/<number:pk>/erase/", runs.erase, name="run_erase"),
    # Audit
    path("audit/", audit.index, name="audit"),
    path("audit/<number:seq>/", audit.detail, name="audit_entry"),
    # Settings and people
    path("settings/", settings.index, name="settings"),
    path("settings/people/", people.index, name="people"),
    path("settings/people/invite/", people.invite, name="people_invite"),
    path("settings/people/links/<number:pk>/withdraw/", people.withdraw, name="people_withdraw"),
    path("settings/people/<number:pk>/role/", people.role, name="people_role"),
    path("settings/people/<number:pk>/active/", people.active, name="people_active"),
    path("settings/people/<number:pk>/password-link/", people.password_link, name="people_password_link"),
]

handler403 = errors.permission_denied
handler404 = errors.not_found

websocket_urlpatterns = [path("ws/", consumers.PageConsumer.as_asgi())]
