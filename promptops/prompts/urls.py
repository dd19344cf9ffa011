"""Addresses of the pages of prompts, variables and prompt files."""

from django.urls import path

from promptops.prompts.views import (
    details,
    drafts,
    editor,
    history,
    index,
    merging,
    prompt_files,
    publishing,
    variables,
)

urlpatterns = [
    path("prompts/", index.index, name="prompts"),
    path("prompts/new/", index.new, name="template_new"),
    path("template-names/", index.names, name="template_names"),
    path("prompts/<slug:name>/", editor.edit, name="template"),
    path("prompts/<slug:name>/draft/", drafts.draft, name="template_draft"),
    path("prompts/<slug:name>/draft/aside/", drafts.set_aside, name="template_set_aside"),
    path("prompts/<slug:name>/discard/", drafts.discard, name="template_discard"),
    path("prompts/<slug:name>/discarded/", drafts.discarded, name="template_discarded"),
    path(
        "prompts/<slug:name>/discarded/<number:discarded_id>/restore/",
        drafts.restore_draft,
        name="template_restore_draft",
    ),
    path("prompts/<slug:name>/check/", editor.check, name="template_check"),
    path("prompts/<slug:name>/samples/", editor.samples, name="template_samples"),
    path("prompts/<slug:name>/presence/", editor.presence, name="template_presence"),
    path("prompts/<slug:name>/review/", publishing.review, name="template_review"),
    path("prompts/<slug:name>/merge/", merging.merge, name="template_merge"),
    path("prompts/<slug:name>/merge/undo/", merging.undo_merge, name="template_merge_undo"),
    path("prompts/<slug:name>/publish/", publishing.publish, name="template_publish"),
    path("prompts/<slug:name>/history/", history.history, name="template_history"),
    path("prompts/<slug:name>/diff/", history.diff, name="template_diff"),
    path("prompts/<slug:name>/details/", details.details, name="template_details"),
    path("prompts/<slug:name>/default/", details.make_default, name="template_default"),
    path("prompts/<slug:name>/archive/", details.archive, name="template_archive"),
    path("prompts/<slug:name>/restore/", details.restore, name="template_restore"),
    path("prompts/<slug:name>/v<number:number>/", history.version, name="version"),
    path("prompts/<slug:name>/v<number:number>/live/", history.roll_back, name="version_live"),
    path("prompts/<slug:name>/v<number:number>/edit/", history.edit_from, name="version_edit"),
    path("variables/", variables.index, name="variables"),
    path("variables/new/", variables.new, name="variable_new"),
    path("variables/<number:pk>/", variables.edit, name="variable"),
    path("variables/<number:pk>/remove/", variables.remove, name="variable_remove"),
    path("prompt-files/", prompt_files.index, name="prompt_files"),
    path("prompt-files/export/", prompt_files.export, name="prompts_export"),
    path("prompt-files/import/", prompt_files.import_, name="prompts_import"),
]
