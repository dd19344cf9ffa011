"""`manage.py train_safety`: train the safety filter's model and make it live, or write the files that ship."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from promptops.engine.safety.training import RUBRIC, TARGET, NotPromoted, train
from promptops.ledger.audit import COMMAND_LINE
from promptops.ledger.errors import Refused
from promptops.safety.actions import filter_settings
from promptops.safety.actions import training as safety_training
from promptops.safety.queries import filter_state


class Command(BaseCommand):
    help = "Train the safety filter's model from a rubric and reviewed texts; a worse one than the live one is refused."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--rubric",
            type=Path,
            default=RUBRIC,
            help="lines of label, category and text, separated by tabs",
        )
        parser.add_argument("--folder", type=Path, help="only write a version's files there, from the rubric alone")
        parser.add_argument("--target", type=float, default=TARGET, help="share of ordinary texts that may be blocked")
        parser.add_argument("--promote-worse", action="store_true", help="use the model even if it is worse")

    def handle(self, *args: Any, **options: Any) -> None:
        if not 0 <= options["target"] < 0.5:
            raise CommandError("--target is a share between 0 and 0.5, such as 0.01.")
        if options["folder"]:
            return self._write(options)
        try:
            outcome = safety_training.train(
                by=COMMAND_LINE,
                rubric=options["rubric"],
                target=options["target"],
                allow_worse=options["promote_worse"],
            )
            self._make_live(outcome)
        except Refused as error:
            raise CommandError(str(error)) from None
        return None

    def _make_live(self, outcome: safety_training.Outcome) -> None:
        version, config = outcome.version, filter_state.set_now()
        if config.model_id != version.pk:
            config = filter_settings.use_model(version, by=COMMAND_LINE, expected=config.changed_revision)
        if outcome.new:
            held = version.manifest["held_out"]
            self.stdout.write(
                f"Model {version.number} is live as r{config.changed_revision}: AUROC {held['auroc']:.3f}, recall "
                f"{held['recall']:.1%} of {held['harmful']}, over-block {held['over_block']:.1%} of the held-out texts"
            )
            return
        if config.thresholds != outcome.thresholds:
            change = filter_settings.SafetyChange(thresholds=outcome.thresholds)
            config = filter_settings.change_safety(change, by=COMMAND_LINE, expected=config.changed_revision)
        self.stdout.write(
            f"The model comes out the same as model {version.number}; only its thresholds differ. "
            f"They are live as r{config.changed_revision}."
        )

    def _write(self, options: dict[str, Any]) -> None:
        """Write the files of a version into a folder, as they ship."""
        try:
            trained = train(
                options["rubric"],
                options["folder"],
                target=options["target"],
                promote_worse=options["promote_worse"],
            )
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
        what = "is now live" if trained.changed else "is already live and would come out the same"
        self.stdout.write(f"Version {trained.version} {what} ({trained.manifest.name} in {trained.manifest.parent})")
