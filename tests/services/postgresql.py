"""The PostgreSQL server that tests use."""

import os

import psycopg

from tests.conftest import missing

SERVER = os.environ.get("TEST_POSTGRES_URL") or "postgresql://postgres@127.0.0.1:5432"


def connect() -> psycopg.Connection:
    """A connection to it; without one the test is skipped, or fails where all services are required."""
    try:
        return psycopg.connect(f"{SERVER}/postgres", connect_timeout=3, autocommit=True)
    except psycopg.OperationalError as error:
        missing(f"no PostgreSQL answers (set TEST_POSTGRES_URL): {str(error).splitlines()[0]}")
        raise  # missing() raises
