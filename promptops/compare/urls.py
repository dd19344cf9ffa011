"""The URLs of comparisons and prompt sets."""

from django.urls import path

from promptops.compare.views import arms, comparisons, detail, prompt_sets, reports, votes

urlpatterns = [
    path("compare/", comparisons.index, name="comparisons"),
    path("compare/new/", comparisons.new, name="comparison_new"),
    path("compare/<number:pk>/", detail.detail, name="comparison"),
    path("compare/<number:pk>/answers/", detail.moved, {"section": "answers"}, name="comparison_answers"),
    path("compare/<number:pk>/answers/<number:input>/", detail.moved, {"section": "answers"}, name="comparison_pair"),
    path("compare/<number:pk>/verdict/", detail.moved, {"section": "verdict"}, name="comparison_verdict"),
    path("compare/<number:pk>/report/", reports.report, name="comparison_report"),
    path("compare/<number:pk>/export/", reports.export, name="comparison_export"),
    path("compare/<number:pk>/arms/<number:arm>/publish/", arms.publish, name="arm_publish"),
    path("compare/<number:pk>/arms/<number:arm>/first/", arms.make_first, name="arm_first"),
    path("compare/<number:pk>/step/", comparisons.step, name="comparison_step"),
    path("compare/<number:pk>/vote/", votes.vote, name="comparison_vote"),
    path("compare/<number:pk>/vote/take-back/", votes.undo, name="comparison_vote_take_back"),
    path("compare/<number:pk>/seen/", votes.seen, name="comparison_seen"),
    path("compare/sets/", prompt_sets.index, name="prompt_sets"),
    path("compare/sets/new/", prompt_sets.new, name="prompt_set_new"),
    path("compare/sets/<number:pk>/", prompt_sets.detail, name="prompt_set"),
    path("compare/sets/<number:pk>/edit/", prompt_sets.edit, name="prompt_set_edit"),
    path("compare/sets/<number:pk>/archive/", prompt_sets.archive, name="prompt_set_archive"),
    path("compare/sets/<number:pk>/restore/", prompt_sets.restore, name="prompt_set_restore"),
    path("compare/sets/<number:pk>/inputs.txt", prompt_sets.download, {"format": "txt"}, name="prompt_set_text"),
    path("compare/sets/<number:pk>/inputs.jsonl", prompt_sets.download, {"format": "jsonl"}, name="prompt_set_jsonl"),
]
