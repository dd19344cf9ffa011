"""Forms of the prompt sets. What a set may keep is decided by its actions."""

from pathlib import PurePath
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from promptops.compare.actions.prompt_sets import MAX_BYTES, MAX_INPUTS, Checked, check
from promptops.prompts.enums import operation_choices
from promptops.texts.inputs import SUFFIXES, Format, Problem, Unreadable, decode, read

SEPARATORS = [
    (Format.LINES, "One input per line"),
    (Format.BLOCKS, "A blank line between two inputs, which may have several lines"),
    (Format.JSONL, "JSON Lines"),
]
PROBLEMS_SHOWN = 10


class PromptSetForm(forms.Form):
    """A set: its name, and its inputs from the box, from a file, or from both. What is wrong is in `problems`."""

    use_required_attribute = False
    name = forms.CharField(label="Name", max_length=80, error_messages={"required": "Give the set a name."})
    description = forms.CharField(label="What it is for", max_length=500, required=False)
    text = forms.CharField(
        label="Inputs",
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"class": "mono", "rows": 16, "dir": "auto", "spellcheck": "false"}),
    )
    separator = forms.ChoiceField(
        label="How the box is read",
        choices=SEPARATORS,
        initial=Format.LINES,
        error_messages={"invalid_choice": "Choose how the box is read."},
        help_text="A .txt file is read the same way. Several prior prompts are one input of several lines.",
    )
    file = forms.FileField(
        label="Add a file",
        required=False,
        allow_empty_file=True,
        widget=forms.FileInput(attrs={"accept": ".txt,.csv,.tsv,.tab,.jsonl,.ndjson,text/plain"}),
        help_text=".txt, .csv, .tsv or .jsonl in UTF-8, up to 8 MiB. Its inputs come after those in the box.",
    )
    column = forms.CharField(
        label="Column of the file",
        max_length=200,
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        help_text="The heading or JSON key of the inputs. Empty: prompt, input or text, or else the first column.",
    )
    expected = forms.IntegerField(required=False, widget=forms.HiddenInput())

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["text"].validators.clear()  # the actions have a clearer word for a NUL, with its line
        self.checked = Checked()
        self.source = ""  # which column of the file was taken
        self._problems: list[Problem] = []

    @property
    def problems(self) -> list[str]:
        """Everything that is wrong, field by field and line by line, in words."""
        told = [str(message) for errors in self.errors.values() for message in errors]
        return told + [str(problem) for problem in self._problems]

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if not file:
            return None
        if file.size > MAX_BYTES:
            raise ValidationError(
                f"{file.name} is {file.size:,} bytes; at most {MAX_BYTES:,} (8 MiB) are read. Upload it in parts."
            )
        if _suffix(file.name) not in {*SUFFIXES, "txt"}:
            raise ValidationError(f"{file.name} is of a kind that is not read. Upload .txt, .csv, .tsv or .jsonl.")
        return file

    def clean(self) -> None:
        given = self.cleaned_data
        if not {"separator", "file", "column"} <= given.keys():
            return  # what cannot be read has been told
        format = Format(given["separator"])
        readings = [read(given["text"], format)]
        if file := given["file"]:
            try:
                text = decode(file.read())
            except Unreadable as error:
                self.add_error("file", f"{file.name}: {error}")
                return
            readings.append(read(text, SUFFIXES.get(_suffix(file.name), format), given["column"], file=file.name))
            self.source = readings[-1].source
        self.checked = check(line for reading in readings for line in reading.found)
        wrong = [problem for reading in readings for problem in reading.problems]
        # That there are too few or too many inputs is known only once all of them can be read.
        wrong += [problem for problem in self.checked.problems if problem.line or not wrong]
        self._problems = sorted(wrong, key=lambda problem: (problem.file, problem.line))

    def is_valid(self) -> bool:
        return super().is_valid() and not self._problems


class FromRunsForm(forms.Form):
    """Which past runs to take inputs from."""

    operation = forms.ChoiceField(choices=operation_choices, error_messages={"invalid_choice": "Choose an operation."})
    newest = forms.IntegerField(
        label="Newest distinct inputs",
        initial=100,
        min_value=1,
        max_value=MAX_INPUTS,
        error_messages={
            "min_value": "Take at least 1 input.",
            "max_value": f"Take at most {MAX_INPUTS:,} inputs.",
            "invalid": "Give a whole number.",
        },
    )


def _suffix(name: str) -> str:
    return PurePath(name).suffix.removeprefix(".").lower()
