"""Our side: one adapter between the benchmark and the executor that the commands open."""

import datetime
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, final

from throughput_parts.messages import Kind, Opening, Outcome, Reply, Request
from transmeta.core.experience import History, MetaFeatures, Provenance
from transmeta.core.outcome import Suggestion
from transmeta.core.protocols import Policy, Search, TrialExecutor
from transmeta.core.task import Task
from transmeta.core.trial import Budget, TrialResult, TrialStatus
from transmeta.experiments.adapt import search_target
from transmeta.experiments.run import OnResult, Workbench, run
from transmeta.experiments.search import Halving, ReplaySearch
from transmeta.policies.files import load_policy
from transmeta.stores.sql import SqlExperienceStore
from transmeta.strategies.catalogue import SpaceProposer
from transmeta.workspace import PACKAGED_POLICY, Compute, ExecutorKind, Workspace, code_version

MORE: Final = 2
"""Suggestions asked for, for each that is wanted: some are of strategies that are not. As many more, if too few are."""


@final
class Within:
    """A policy that suggests of some strategies only, whatever the policy behind it knows beside them."""

    def __init__(self, policy: Policy, *, strategies: Sequence[str]) -> None:
        self._policy = policy
        self._strategies = frozenset(strategies)

    @property
    def name(self) -> str:
        return self._policy.name

    def suggest(self, features: MetaFeatures, history: History, *, count: int, seed: int) -> Sequence[Suggestion]:
        asked = count
        while True:
            asked *= MORE
            suggestions = self._policy.suggest(features, history, count=asked, seed=seed)
            wanted = [item for item in suggestions if item.arm.strategy.name in self._strategies]
            if len(wanted) >= count or len(suggestions) < asked:
                return wanted[:count]


@final
class Ours:
    """Runs requests by an executor that stays open between them."""

    def __init__(self, opening: Opening, *, executor: TrialExecutor) -> None:
        self._folder = Path(opening.folder)
        self._executor = executor
        self.note = type(executor).__name__

    def run(self, request: Request) -> Reply:
        start_s = time.perf_counter()
        ended_s: list[float] = []

        def note_end(result: TrialResult) -> None:
            ended_s.append(time.perf_counter() - start_s)

        if request.kind is Kind.TRIALS:
            results = list(_told(self._executor, ReplaySearch(request.specs), note_end))
        elif request.kind is Kind.STORE:
            results = self._stored(request, note_end)
        else:
            assert request.target is not None
            results = self._search(request.target, request=request, on_result=note_end)
        wall_s = time.perf_counter() - start_s
        return _reply(results, ended_s=ended_s, wall_s=wall_s, note=self.note)

    def _search(self, target: Task, *, request: Request, on_result: OnResult) -> list[TrialResult]:
        """Searches as `adapt` does with a number of trials for its budget, in an empty workspace; keeps no models."""
        with self._workspace() as (workspace, store):
            features = workspace.features(target, store=store)
            cards = workspace.environment().library().candidates(target)
            proposer = SpaceProposer(cards={card.id: card for card in cards}, strategies=request.strategies)
            found = search_target(
                target,
                features=features,
                policy=Within(load_policy(PACKAGED_POLICY, proposer=proposer), strategies=request.strategies),
                bench=self._bench(store, on_result),
                budget=Budget(trials=request.trials),
                halving=Halving(),
                seed=0,
                clock=time.monotonic,
            )
            rest = [result for result in found.results if result is not found.best]
            return [found.best, *rest]

    def _stored(self, request: Request, on_result: OnResult) -> list[TrialResult]:
        targets = {spec.target.id for spec in request.specs}
        features = {target: MetaFeatures(target_id=target, target={}, pairs={}) for target in targets}
        with self._workspace() as (_, store):
            fresh = run(ReplaySearch(request.specs), bench=self._bench(store, on_result), features=features)
            assert store.count() == len(request.specs), "the store lost trials"
            return list(fresh)

    @contextmanager
    def _workspace(self) -> Iterator[tuple[Workspace, SqlExperienceStore]]:
        workspace = Workspace(folder=self._folder / f"workspace-{time.time_ns()}")
        with workspace.store() as store:
            yield workspace, store

    def _bench(self, store: SqlExperienceStore, on_result: OnResult) -> Workbench:
        return Workbench(executor=self._executor, store=store, provenance=_provenance, on_result=on_result)


@contextmanager
def open_ours(opening: Opening) -> Iterator[Ours]:
    """Opens the executor in an empty workspace, as the commands do."""
    workspace = Workspace(folder=Path(opening.folder) / "workspace")
    workspace.folder.mkdir(parents=True)
    workspace.models.symlink_to(opening.models)
    kind = ExecutorKind(opening.engine)
    compute = Compute(executor=kind, workers=None if kind is ExecutorKind.LOCAL else opening.slots)
    with workspace.store() as store, workspace.bench(compute, run="throughput", store=store) as bench:
        yield Ours(opening, executor=bench.executor)


def _told(executor: TrialExecutor, search: Search, on_result: OnResult) -> Iterator[TrialResult]:
    for result in executor.drive(search):
        on_result(result)
        yield result


def _reply(results: Sequence[TrialResult], *, ended_s: Sequence[float], wall_s: float, note: str) -> Reply:
    outcomes = {
        str(result.spec.id): Outcome(score=result.score, loss=result.curve[-1].train_loss, test_score=result.test_score)
        for result in results
        if result.status is TrialStatus.COMPLETED and result.score is not None and result.test_score is not None
    }
    failed = [r.reason for r in results if r.status in (TrialStatus.FAILED, TrialStatus.CRASHED)]
    return Reply(
        wall_s=wall_s,
        ended_s=tuple(sorted(ended_s)),
        outcomes=outcomes,
        specs=tuple(result.spec for result in results),
        failures=tuple(failed[:5]),
        best=max((outcome.score for outcome in outcomes.values()), default=None),
        note=note,
    )


def _provenance() -> Provenance:
    now = datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="milliseconds")
    return Provenance(version=code_version(), run="throughput", executor="ray", created_at=now)
