"""The verb of the machine interface: making a change once, however often its request is repeated.

What is changed belongs to the actions of the features.
"""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from promptops.api.models import IdempotentAnswer
from promptops.api.problems import Problem
from promptops.ledger.audit import canonical_json
from promptops.platform import background

KEPT = timedelta(hours=24)
MOST_KEPT = 1_000
"""Answers of a token. The oldest ones are deleted before their time if there are more."""
REUSED = (
    "This Idempotency-Key came with another request in the last 24 hours. Send a new key with each change, and the "
    "same key only to repeat a request."
)

Answer = dict[str, Any]


@transaction.atomic
def change_once(token: int, key: str, request: dict[str, Any], change: Callable[[], Answer]) -> Answer:
    """Call `change` and store its answer with it, or return the stored answer of the same request with the same key.

    Without a key, the change is made in any case. A change that is refused stores nothing. Raises Problem for a key
    that came with another request.
    """
    if not key:
        return change()
    sha256 = hashlib.sha256(canonical_json(request).encode()).hexdigest()
    answers = IdempotentAnswer.objects.filter(token_id=token)
    answers.filter(key=key, at__lte=timezone.now() - KEPT).delete()
    try:
        # First of all: of two requests with one key, the second waits here until the first has committed.
        with transaction.atomic():
            row = IdempotentAnswer.objects.create(token_id=token, key=key, request_sha256=sha256, answer={})
    except IntegrityError:
        known = answers.get(key=key)
        if known.request_sha256 != sha256:
            raise Problem(422, "key-reused", REUSED) from None
        return dict(known.answer)
    row.answer = change()
    row.save(update_fields=["answer"])
    _delete_surplus(token)
    return row.answer


def _delete_surplus(token: int) -> None:
    answers = IdempotentAnswer.objects.filter(token_id=token)
    surplus = answers.order_by("-pk").values_list("pk", flat=True)[MOST_KEPT : MOST_KEPT + 1].first()
    if surplus is not None:
        answers.filter(pk__lte=surplus).delete()


@background.hourly
def delete_old_answers() -> int:
    """Delete the answers whose time is over. Return how many there were."""
    return IdempotentAnswer.objects.filter(at__lte=timezone.now() - KEPT).delete()[0]
