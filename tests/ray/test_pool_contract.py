"""The contract of an executor, on a pool whose workers all cases share: starting them takes seconds."""

import pytest

from transmeta.core.protocols import TrialExecutor
from transmeta.execution.ray.crew import Crew
from transmeta.execution.ray.pool import OPENER, PoolExecutor
from transmeta.execution.ray.resources import Resources
from transmeta.testing.executor_cases import TrialExecutorCases
from transmeta.trials.planner import UnitPlanner

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("session")]


@pytest.fixture(scope="class")
def shared_crew(session):
    shared = Crew(resources=Resources(), opener=OPENER)
    yield shared
    shared.close()


class TestPoolExecutor(TrialExecutorCases):
    @pytest.fixture(autouse=True)
    def sharing(self, shared_crew):
        self.crew = shared_crew

    def make_executor(self, environment) -> TrialExecutor:
        return PoolExecutor(environment=environment, crew=self.crew, planner=UnitPlanner(environment=environment))
