"""`manage.py train_safety`: train the safety filter's model from a rubric and make it the current one."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from promptops.engine.safety.training import RUBRIC, TARGET, NotPromoted, train


class Command(BaseCommand):
    help = "Train the safety filter's model from a rubric; a model that is worse than the one in use is not used."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--rubric", type=Path, default=RUBRIC, help="label, category, text, with tabs between them")
        parser.add_argument("--folder", type=Path, help="where versions are kept (default: safety in VAR_DIR)")
        parser.add_argument("--target", type=float, default=TARGET, help="share of ordinary texts that may be blocked")
        parser.add_argument("--promote-worse", action="store_true", help="use the model even when it is worse")

    def handle(self, *args: Any, **options: Any) -> None:
        if not 0 <= options["target"] < 0.5:
            raise CommandError("--target is a share between 0 and 0.5, such as 0.01.")
        folder = options["folder"] or settings.VAR_DIR / "safety"
        try:
            trained = train(options["rubric"], folder, target=options["target"], promote_worse=options["promote_worse"])
        except OSError as error:
            raise CommandError(f"{error.filename} cannot be used: {error.strerror}.") from None
        except (NotPromoted, ValueError) as error:
            raise CommandError(f"{error}.") from None
        for name, metrics in (("before", trained.before), ("now", trained.metrics)):
            if metrics and (trained.changed or name == "now"):
                self.stdout.write(
                    f"{name}: AUROC {metrics.auroc:.3f}, recall {metrics.recall:.1%} of {metrics.harmful}, "
                    f"over-block {metrics.over_block:.1%} of {metrics.harmless} held-out texts"
                )
        what = "is now current" if trained.changed else "is current already and would come out the same"
        self.stdout.write(f"Version {trained.version} {what} ({trained.manifest.name} in {trained.manifest.parent})")
