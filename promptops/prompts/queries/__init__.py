"""Reads of prompts that take more than one line. They return rows or frozen dataclasses for pages."""

from promptops.prompts.queries import presence, samples, templates, variables

__all__ = ["presence", "samples", "templates", "variables"]
