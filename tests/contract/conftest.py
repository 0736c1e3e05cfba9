"""Makes the PostgreSQL server known to all contract tests, so that a session starts one."""

from .postgres import postgres_server

__all__ = ["postgres_server"]
