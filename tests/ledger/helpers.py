"""The check of the chain, as tests call it."""

import io

from django.core.management import CommandError, call_command

from promptops.ledger import chain as audit_chain


def head() -> audit_chain.Link:
    """Return the head of the chain."""
    return audit_chain.verify().head


def run_verify(*arguments: str) -> tuple[str, str, int]:
    """Run `manage.py audit_verify`. Return its output, its errors and its exit code."""
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("audit_verify", *arguments, stdout=out, stderr=err)
    except CommandError as error:
        return out.getvalue(), err.getvalue() + str(error), error.returncode
    return out.getvalue(), err.getvalue(), 0
