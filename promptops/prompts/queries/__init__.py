"""Reads of prompts that take more than one line. They return rows or frozen dataclasses for pages."""

from promptops.prompts.queries import handover, operations, presence, releases, samples, templates, variables

__all__ = ["handover", "operations", "presence", "releases", "samples", "templates", "variables"]
