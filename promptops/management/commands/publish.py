"""`manage.py publish TEMPLATE --file F --note "..."`: publish a text from the command line."""

import sys
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from promptops.ledger.audit import COMMAND_LINE
from promptops.ledger.errors import Refused
from promptops.management.commands._secret_key import warn_of_wrong_key
from promptops.platform.text import decode_body
from promptops.prompts.actions.releases import publish
from promptops.prompts.content import Content
from promptops.prompts.models import Template


class Command(BaseCommand):
    help = "Publish a file as the next version of a template; running servers switch within a second."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("template", help="the template's name, such as enhance")
        parser.add_argument("--file", required=True, help="UTF-8 text; - reads standard input")
        parser.add_argument("--note", default="", help="the reason; shown in the history")
        parser.add_argument(
            "--expect", type=int, metavar="N", help="refuse unless version N is live (default: whatever is live)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        template = Template.objects.select_related("live_version").filter(name=options["template"]).first()
        if template is None:
            names = ", ".join(Template.objects.values_list("name", flat=True)) or "none yet"
            raise CommandError(f"There is no template {options['template']!r}. Templates: {names}.")
        live = template.live_version
        if options["expect"] is not None and (live.number if live else 0) != options["expect"]:
            raise CommandError(
                f"v{live.number if live else 0} is live, not v{options['expect']}. Nothing was published."
            )
        try:
            data = sys.stdin.buffer.read() if options["file"] == "-" else Path(options["file"]).read_bytes()
            # The settings stay those of the live version; a file holds only the text.
            settings = {key: value for key, value in (live.content if live else {}).items() if key != "body"}
            content = Content(decode_body(data), **settings)
            version = publish(
                template, content, by=COMMAND_LINE, expected=live.pk if live else None, note=options["note"]
            )
        except OSError as error:
            raise CommandError(f"{options['file']} cannot be read: {error.strerror}.") from None
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        except Refused as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{version} is live.")
        warn_of_wrong_key(self.stderr)
