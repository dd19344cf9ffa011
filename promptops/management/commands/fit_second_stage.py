"""`manage.py fit_second_stage`: make the head of the safety filter's second stage from the rubrics."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from promptops.engine.safety.second_stage import HEADS, INSTALL, installed, read_head, shipped_encoder


class Command(BaseCommand):
    help = "Fit the head of the second stage on the rubrics and write it to a file; takes about half a minute."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--output", type=Path, default=HEADS / "current.json", help="the file to write")
        parser.add_argument("--number", type=int, help="the head's version (default: the next)")

    def handle(self, *args: Any, **options: Any) -> None:
        if not installed():
            raise CommandError(f"The second stage is not installed: {INSTALL}")
        from promptops.engine.safety.second_stage_fitting import first_heights, fit_head, read_rows

        number = options["number"]
        if number is None:
            try:
                number = read_head(HEADS / "current.json").version + 1
            except ValueError:
                number = 1
        try:
            head = fit_head(read_rows(), shipped_encoder(), number, first_heights())
            options["output"].write_text(json.dumps(head) + "\n", encoding="utf-8")
        except (OSError, ValueError) as error:
            raise CommandError(f"The head was not written: {error}.") from None
        self.stdout.write(f"Head {number}: threshold {head['threshold']}, {json.dumps(head['figures'])}.")
        combined = head["combined"]
        self.stdout.write(f"Both stages: threshold {combined['threshold']}, {json.dumps(combined['figures'])}.")
