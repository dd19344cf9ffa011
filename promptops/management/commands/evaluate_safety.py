"""`manage.py evaluate_safety`: measure the safety filter on texts that it was never trained on."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from promptops.engine.safety import evaluation, second_stage, second_stage_evaluation
from promptops.engine.safety.guard import SHIPPED, SafetyGuard, SafetyModel


class Command(BaseCommand):
    help = "Print the safety filter's figures on the evaluation sets, as tables in Markdown; nothing is trained."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--manifest", type=Path, default=SHIPPED / "current.json", help="the manifest of the model")
        parser.add_argument("--data", type=Path, default=evaluation.SETS)
        parser.add_argument("--moderation", type=Path, help="OpenAI's moderation set, as lines of JSON")
        parser.add_argument("--json", type=Path, help="also write the figures to this file, for the Safety page")

    def handle(self, *args: Any, **options: Any) -> None:
        model = SafetyModel.from_manifest(options["manifest"])
        loaded, failure = model.get()
        if loaded is None:
            raise CommandError(f"{failure}.")
        try:
            texts = evaluation.read_sets(options["data"], options["moderation"])
        except OSError as error:
            raise CommandError(f"{error.filename} cannot be read: {error.strerror}.") from None
        except (ValueError, LookupError, TypeError) as error:
            raise CommandError(f"An evaluation set is not in the form of its README: {error!r}.") from None
        figures = {"sha256": loaded.spec.sha256, **evaluation.evaluate(model, texts)}
        for title, table in figures["tables"].items():
            self.stdout.write(f"\n**{title}**\n\n" + evaluation.as_markdown(table))
        self.stdout.write(f"\nA video prompt takes {figures['milliseconds']:.3f} ms.")
        if second_stage.installed():
            guard = SafetyGuard(model)
            judged = evaluation.judge(guard, loaded, texts)
            second = second_stage_evaluation.evaluate(
                judged, second_stage.shipped(), guard, loaded.thresholds, options["data"]
            )
            for title, table in second["tables"].items():
                self.stdout.write(f"\n**{title}**\n\n" + evaluation.as_markdown(table))
            self.stdout.write(f"\nThe second stage takes {second['milliseconds']:.1f} ms a text.")
        else:
            self.stdout.write(f"\nThe second stage is not installed: {second_stage.INSTALL}")
        if options["json"]:
            try:
                options["json"].write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
            except OSError as error:
                raise CommandError(f"{error.filename} cannot be written: {error.strerror}.") from None
