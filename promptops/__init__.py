"""PromptOps: the control room for the prompt pipeline of live text-to-video servers."""

__version__ = "0.2.0"
