"""The forms of prompt sets. Which inputs a set may hold is decided in `actions.prompt_sets`."""

from pathlib import PurePath
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from promptops.compare.actions.prompt_sets import MAX_BYTES, MAX_INPUTS, Checked, check
from promptops.prompts.queries import operations
from promptops.texts.inputs import SUFFIXES, Format, Problem, Unreadable, decode, read

SEPARATORS = [
    (Format.LINES, "One input per line"),
    (Format.BLOCKS, "A blank line between two inputs, which may have several lines"),
    (Format.JSONL, "JSON Lines"),
]
PROBLEMS_SHOWN = 10


class PromptSetForm(forms.Form):
    """A set: its name, and its inputs from the box, from a file, or from both. `problems` says what is wrong."""

    use_required_attribute = False
    name = forms.CharField(label="Name", max_length=80, error_messages={"required": "Enter a name for the set."})
    description = forms.CharField(label="Purpose", max_length=500, required=False)
    text = forms.CharField(
        label="Inputs",
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"class": "mono", "rows": 16, "dir": "auto", "spellcheck": "false"}),
    )
    separator = forms.ChoiceField(
        label="Format of the box",
        choices=SEPARATORS,
        initial=Format.LINES,
        error_messages={"invalid_choice": "Choose the format of the box."},
        help_text="Applies to .txt files, too. Several prior prompts are one input with several lines.",
    )
    file = forms.FileField(
        label="Add a file",
        required=False,
        allow_empty_file=True,
        widget=forms.FileInput(attrs={"accept": ".txt,.csv,.tsv,.tab,.jsonl,.ndjson,text/plain"}),
        help_text=".txt, .csv, .tsv or .jsonl in UTF-8, up to 8 MiB. Its inputs are added after those in the box.",
    )
    column = forms.CharField(
        label="Column of the file",
        max_length=200,
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        help_text="The heading or JSON key of the inputs. If empty: prompt, input or text, or the first column.",
    )
    expected = forms.IntegerField(required=False, widget=forms.HiddenInput())

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["text"].validators.clear()  # the actions report a NUL more clearly, with its line
        self.checked = Checked()
        self.source = ""  # the column of the file that the inputs came from
        self._problems: list[Problem] = []

    @property
    def problems(self) -> list[str]:
        """Return all problems as sentences, field by field and line by line."""
        messages = [str(message) for errors in self.errors.values() for message in errors]
        return messages + [str(problem) for problem in self._problems]

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if not file:
            return None
        if file.size > MAX_BYTES:
            raise ValidationError(
                f"{file.name} is {file.size:,} bytes. The limit is {MAX_BYTES:,} (8 MiB). Upload it in parts."
            )
        if _suffix(file.name) not in {*SUFFIXES, "txt"}:
            raise ValidationError(f"{file.name} has an unknown file type. Upload .txt, .csv, .tsv or .jsonl.")
        return file

    def clean(self) -> None:
        fields = self.cleaned_data
        if not {"separator", "file", "column"} <= fields.keys():
            return  # the fields have reported their errors
        format = Format(fields["separator"])
        readings = [read(fields["text"], format)]
        if file := fields["file"]:
            try:
                text = decode(file.read())
            except Unreadable as error:
                self.add_error("file", f"{file.name}: {error}")
                return
            readings.append(read(text, SUFFIXES.get(_suffix(file.name), format), fields["column"], file=file.name))
            self.source = readings[-1].source
        self.checked = check(line for reading in readings for line in reading.lines)
        wrong = [problem for reading in readings for problem in reading.problems]
        # Whether there are too few or too many inputs is known only after every line was read.
        wrong += [problem for problem in self.checked.problems if problem.line or not wrong]
        self._problems = sorted(wrong, key=lambda problem: (problem.file, problem.line))

    def is_valid(self) -> bool:
        return super().is_valid() and not self._problems


class FromRunsForm(forms.Form):
    """The past runs whose inputs fill the box of a new set."""

    operation = forms.ChoiceField(
        choices=operations.all_choices, error_messages={"invalid_choice": "Choose an operation."}
    )
    newest = forms.IntegerField(
        label="Newest distinct inputs",
        initial=100,
        min_value=1,
        max_value=MAX_INPUTS,
        error_messages={
            "min_value": "Choose at least 1 input.",
            "max_value": f"Choose at most {MAX_INPUTS:,} inputs.",
            "invalid": "Enter a whole number.",
        },
    )


def _suffix(name: str) -> str:
    return PurePath(name).suffix.removeprefix(".").lower()
