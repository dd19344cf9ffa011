"""Reads of prompts that take more than one line. They return rows or frozen dataclasses for pages."""

from promptops.prompts.queries import operations, presence, releases, samples, templates, variables

__all__ = ["operations", "presence", "releases", "samples", "templates", "variables"]
