"""Every store passes the same cases; PostgreSQL is a real server, started here."""

import uuid

import pytest

from transmeta.stores.contract import RunStore
from transmeta.stores.memory import MemoryExperienceStore
from transmeta.stores.sql import SqlExperienceStore
from transmeta.testing.store_cases import ExperienceStoreCases


class TestSqliteStore(ExperienceStoreCases):
    def make_store(self, folder) -> RunStore:
        return SqlExperienceStore.open(str(folder / "experience.db"))


class TestMemoryStore(ExperienceStoreCases):
    @pytest.fixture(autouse=True)
    def _stores(self):
        self.stores = {}

    def make_store(self, folder) -> RunStore:
        return self.stores.setdefault(folder, MemoryExperienceStore())


@pytest.mark.postgres
class TestPostgresStore(ExperienceStoreCases):
    @pytest.fixture(autouse=True)
    def _server(self, postgres_server):
        self.server = postgres_server

    def make_store(self, folder) -> RunStore:
        schema = f"s{uuid.uuid5(uuid.NAMESPACE_URL, str(folder)).hex}"
        return SqlExperienceStore.open(self.server.create_schema(schema))
