"""Reads that are more than one line: they return rows or frozen dataclasses, ready for a template."""

from promptops.prompts.queries import presence, samples, templates, variables

__all__ = ["presence", "samples", "templates", "variables"]
