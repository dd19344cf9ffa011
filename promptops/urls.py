"""Every address. Each view says itself who may see it (promptops.web.access)."""

from django.urls import path, register_converter
from django.urls.converters import IntConverter

from promptops.compare.views import arms, comparisons, matrix, prompt_sets, reports, verdicts, votes
from promptops.history.views import audit, timeline
from promptops.people.views import accounts, people, sessions
from promptops.prompts.views import prompt_files, prompts, variables
from promptops.providers import views as providers
from promptops.runs import views as runs
from promptops.safety.views import models as safety_models
from promptops.safety.views import queue as safety_queue
from promptops.safety.views import safety
from promptops.safety.views import terms as safety_terms
from promptops.safety.views import tuning as safety_tuning
from promptops.site.views import errors, overview, settings
from promptops.web import consumers


class NumberConverter(IntConverter):
    """A whole number that fits into the database; a longer one is simply not found."""

    regex = "[0-9]{1,18}"


register_converter(NumberConverter, "number")

urlpatterns = [
    path("", overview.overview, name="overview"),
    path("healthz", errors.health, name="health"),
    # People signing in
    path("sign-in/", accounts.sign_in, name="sign_in"),
    path("sign-out/", accounts.sign_out, name="sign_out"),
    path("setup/<str:token>/", accounts.setup, name="setup"),
    path("join/<str:token>/", accounts.join, name="join"),
    path("password/<str:token>/", accounts.password_by_link, name="password_by_link"),
    path("account/password/", accounts.password_change, name="password"),
    path("account/sessions/", sessions.own, name="sessions"),
    path("account/sessions/end/", sessions.end_others, name="sessions_end"),
    path("account/sessions/<number:session>/end/", sessions.end_own, name="session_end"),
    # Prompts
    path("prompts/", prompts.index, name="prompts"),
    path("prompts/new/", prompts.new, name="template_new"),
    path("prompts/<slug:name>/", prompts.edit, name="template"),
    path("prompts/<slug:name>/draft/", prompts.draft, name="template_draft"),
    path("prompts/<slug:name>/draft/aside/", prompts.set_aside, name="template_set_aside"),
    path("prompts/<slug:name>/discard/", prompts.discard, name="template_discard"),
    path("prompts/<slug:name>/discarded/", prompts.discarded, name="template_discarded"),
    path("prompts/<slug:name>/discarded/<number:kept>/restore/", prompts.restore_draft, name="template_restore_draft"),
    path("prompts/<slug:name>/check/", prompts.check, name="template_check"),
    path("prompts/<slug:name>/samples/", prompts.samples, name="template_samples"),
    path("prompts/<slug:name>/presence/", prompts.presence, name="template_presence"),
    path("prompts/<slug:name>/review/", prompts.review, name="template_review"),
    path("prompts/<slug:name>/merge/", prompts.merge, name="template_merge"),
    path("prompts/<slug:name>/merge/undo/", prompts.undo_merge, name="template_merge_undo"),
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
    # Variables
    path("variables/", variables.index, name="variables"),
    path("variables/new/", variables.new, name="variable_new"),
    path("variables/<number:pk>/", variables.edit, name="variable"),
    path("variables/<number:pk>/remove/", variables.remove, name="variable_remove"),
    path("prompt-files/", prompt_files.index, name="prompt_files"),
    path("prompt-files/export/", prompt_files.export, name="prompts_export"),
    path("prompt-files/import/", prompt_files.import_, name="prompts_import"),
    # Providers
    path("providers/", providers.index, name="providers"),
    path("providers/order/", providers.reorder, name="provider_order"),
    path("providers/new/", providers.new, name="provider_new"),
    path("providers/<number:pk>/", providers.edit, name="provider"),
    path("providers/<number:pk>/key/", providers.key, name="provider_key"),
    path("providers/<number:pk>/enabled/", providers.enabled, name="provider_enabled"),
    path("providers/<number:pk>/ask-again/", providers.ask_again, name="provider_ask_again"),
    path("providers/<number:pk>/forget/", providers.forget, name="provider_forget"),
    path("providers/<number:pk>/remove/", providers.remove, name="provider_remove"),
    # Compare
    path("compare/", comparisons.index, name="comparisons"),
    path("compare/new/", comparisons.new, name="comparison_new"),
    path("compare/<number:pk>/", comparisons.detail, name="comparison"),
    path("compare/<number:pk>/answers/", matrix.index, name="comparison_matrix"),
    path("compare/<number:pk>/answers/<number:input>/", matrix.pair, name="comparison_pair"),
    path("compare/<number:pk>/report/", reports.report, name="comparison_report"),
    path("compare/<number:pk>/export/", reports.export, name="comparison_export"),
    path("compare/<number:pk>/arms/<number:arm>/publish/", arms.publish, name="arm_publish"),
    path("compare/<number:pk>/arms/<number:arm>/first/", arms.make_first, name="arm_first"),
    path("compare/<number:pk>/verdict/", verdicts.verdict, name="comparison_verdict"),
    path("compare/<number:pk>/step/", comparisons.step, name="comparison_step"),
    path("compare/<number:pk>/vote/", votes.vote, name="comparison_vote"),
    path("compare/<number:pk>/vote/take-back/", votes.take_back, name="comparison_vote_take_back"),
    path("compare/<number:pk>/seen/", votes.seen, name="comparison_seen"),
    path("compare/sets/", prompt_sets.index, name="prompt_sets"),
    path("compare/sets/new/", prompt_sets.new, name="prompt_set_new"),
    path("compare/sets/<number:pk>/", prompt_sets.detail, name="prompt_set"),
    path("compare/sets/<number:pk>/edit/", prompt_sets.edit, name="prompt_set_edit"),
    path("compare/sets/<number:pk>/archive/", prompt_sets.archive, name="prompt_set_archive"),
    path("compare/sets/<number:pk>/restore/", prompt_sets.restore, name="prompt_set_restore"),
    path("compare/sets/<number:pk>/inputs.txt", prompt_sets.download, {"format": "txt"}, name="prompt_set_text"),
    path("compare/sets/<number:pk>/inputs.jsonl", prompt_sets.download, {"format": "jsonl"}, name="prompt_set_jsonl"),
    # Runs
    path("runs/", runs.index, name="runs"),
    path("runs/<number:pk>/", runs.detail, name="run"),
    path("runs/<number:pk>/erase/", runs.erase, name="run_erase"),
    path("runs/<number:pk>/reveal/", runs.reveal, name="run_reveal"),
    # Safety
    path("safety/", safety.index, name="safety"),
    path("safety/history/<number:revision>/live/", safety.roll_back, name="safety_roll_back"),
    path("safety/try/", safety_tuning.try_text, name="safety_try"),
    path("safety/thresholds/", safety_tuning.thresholds, name="safety_thresholds"),
    path("safety/terms/", safety_terms.index, name="safety_terms"),
    path("safety/terms/preview/", safety_terms.preview, name="safety_terms_preview"),
    path("safety/terms/remove/", safety_terms.remove, name="safety_term_remove"),
    path("safety/queue/", safety_queue.index, name="safety_queue"),
    path("safety/queue/<number:pk>/", safety_queue.decide, name="safety_queue_decide"),
    path("runs/<number:pk>/report/", safety_queue.report, name="run_report"),
    path("safety/models/", safety_models.index, name="safety_models"),
    path("safety/models/training/", safety_models.training, name="safety_training"),
    path("safety/models/training/<number:pk>/cancel/", safety_models.cancel, name="safety_training_cancel"),
    path("safety/models/<number:number>/live/", safety_models.make_live, name="safety_model_live"),
    # Audit
    path("audit/", audit.index, name="audit"),
    path("audit/verify/", audit.verify, name="audit_verify"),
    path("audit/export/", audit.export, name="audit_export"),
    path("audit/<number:seq>/", audit.detail, name="audit_entry"),
    # Timeline
    path("timeline/", timeline.index, name="timeline"),
    path("revisions/<number:revision>/", timeline.revision, name="revision"),
    # Settings and people
    path("settings/", settings.index, name="settings"),
    path("settings/people/", people.index, name="people"),
    path("settings/people/invite/", people.invite, name="people_invite"),
    path("settings/people/links/<number:pk>/withdraw/", people.withdraw, name="people_withdraw"),
    path("settings/people/<number:pk>/role/", people.role, name="people_role"),
    path("settings/people/<number:pk>/active/", people.active, name="people_active"),
    path("settings/people/<number:pk>/sessions/", sessions.of_person, name="people_sessions"),
    path("settings/people/<number:pk>/sessions/end/", sessions.end_all_of_person, name="people_sessions_end"),
    path(
        "settings/people/<number:pk>/sessions/<number:session>/end/",
        sessions.end_of_person,
        name="people_session_end",
    ),
    path("settings/people/<number:pk>/password-link/", people.password_link, name="people_password_link"),
]

handler400 = errors.bad_request
handler403 = errors.permission_denied
handler404 = errors.not_found
handler500 = errors.server_error

websocket_urlpatterns = [path("ws/", consumers.PageConsumer.as_asgi())]
