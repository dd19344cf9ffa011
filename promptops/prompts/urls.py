"""Addresses of prompts, variables and prompt files."""

from django.urls import path

from promptops.prompts.views import prompt_files, prompts, variables

urlpatterns = [
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
    path("variables/", variables.index, name="variables"),
    path("variables/new/", variables.new, name="variable_new"),
    path("variables/<number:pk>/", variables.edit, name="variable"),
    path("variables/<number:pk>/remove/", variables.remove, name="variable_remove"),
    path("prompt-files/", prompt_files.index, name="prompt_files"),
    path("prompt-files/export/", prompt_files.export, name="prompts_export"),
    path("prompt-files/import/", prompt_files.import_, name="prompts_import"),
]
