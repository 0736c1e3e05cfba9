"""Every executor passes the same cases; those of Ray Tune are in tests/ray/test_tuner.py."""

from transmeta.core.protocols import TrialExecutor
from transmeta.execution.local import LocalExecutor
from transmeta.testing.executor_cases import TrialExecutorCases


class TestLocalExecutor(TrialExecutorCases):
    def make_executor(self, environment) -> TrialExecutor:
        return LocalExecutor(environment=environment)
