"""Addresses of the Safety pages."""

from django.urls import path

from promptops.safety.views import filter as safety_filter
from promptops.safety.views import models as safety_models
from promptops.safety.views import queue as safety_queue
from promptops.safety.views import second_stage as safety_second_stage
from promptops.safety.views import terms as safety_terms
from promptops.safety.views import tuning as safety_tuning

urlpatterns = [
    path("safety/", safety_filter.index, name="safety"),
    path("safety/history/<number:revision>/live/", safety_filter.roll_back, name="safety_roll_back"),
    path("safety/second-stage/", safety_second_stage.change, name="safety_second_stage"),
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
]
