"""The composition root: which store, which models, which policy and which executor a command works with.

What needs torch or ConfigSpace is imported where it is used: many commands need neither, and would wait two seconds.
"""

import dataclasses
import datetime
import functools
import math
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from transmeta.core.experience import MetaFeatures, Provenance
from transmeta.core.model import ModelCard
from transmeta.core.protocols import Policy, TrialExecutor
from transmeta.core.space import Proposer
from transmeta.core.task import Task
from transmeta.errors import ConflictError, InputError, UnknownNameError
from transmeta.experiments.run import OnResult, Workbench
from transmeta.policies.files import POLICY_FILE, load_policy
from transmeta.policies.portfolio import PortfolioLearner
from transmeta.policies.table import RegretTable
from transmeta.policies.versions import PolicyVersions, VersionNote
from transmeta.stores.lock import WriterLock
from transmeta.stores.sql import SqlExperienceStore
from transmeta.version import __version__

if TYPE_CHECKING:
    from transmeta.execution.ray.train_executor import TrainExecutor
    from transmeta.trials.environment import Environment

DEFAULT_FOLDER: Final = Path(".transmeta")
PACKAGED_POLICY: Final = Path(__file__).parent / "policies" / "packaged"


class ExecutorKind(StrEnum):
    """Where trials run."""

    LOCAL = "local"
    """In this process, one after another."""
    RAY = "ray"
    """On Ray, by resident workers: on the cluster at an address, or on all cores of this machine."""
    TUNE = "tune"
    """On Ray, by Ray Tune, with its schedulers and its reporting."""
    TRAIN = "train"
    """On Ray, by Ray Train: one trial after another, each on all the workers; for trials of minutes."""


class SchedulerKind(StrEnum):
    """Who stops trials early."""

    NONE = "none"
    """The search itself: synchronous halving, the same trials on every executor."""
    ASHA = "asha"
    """Ray Tune's asynchronous halving: never waits, so what is stopped depends on the cluster."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """Where and with what trials run; none of it changes their numbers.

    Attributes:
        address: of a Ray cluster; None for one of our own on this machine.
        cpus, gpus: of each trial; with TRAIN, of each of its workers.
        workers: trials at once on a cluster of our own; None for one per core. With TRAIN, the workers of each trial.
    """

    executor: ExecutorKind = ExecutorKind.RAY
    address: str | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    workers: int | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A folder with experience, models and policies; made when something is written.

    Attributes:
        store_url: of the experience; None for the SQLite file in the folder.
    """

    folder: Path = DEFAULT_FOLDER
    store_url: str | None = None

    @property
    def models(self) -> Path:
        """Where source models are kept."""
        return self.folder / "models"

    @property
    def runs(self) -> Path:
        """Where runs of Ray Train keep their checkpoints; all nodes must see it."""
        return self.folder / "train"

    @property
    def policy_folder(self) -> Path:
        """Where the learned policy is kept."""
        return self.folder / "policy"

    @property
    def policy_versions(self) -> PolicyVersions:
        """The versions of the learned policy."""
        return PolicyVersions(folder=self.policy_folder)

    def environment(self, *, checkpoints: Path | None = None) -> "Environment":
        """Returns what trials need beside their specs; trained models are kept in `checkpoints` if given."""
        from transmeta.trials.environment import Environment

        return Environment(
            model_folders=(str(self.models.resolve()),),
            checkpoint_folder=None if checkpoints is None else str(checkpoints.resolve()),
            cache_folder=str((self.folder / "cache").resolve()),
        )

    @contextmanager
    def store(self) -> Iterator[SqlExperienceStore]:
        """Opens the experience for the length of the block; the folder is made by the first write."""
        with SqlExperienceStore.open(self.store_url or str(self.folder / "experience.db")) as store:
            yield store

    def features(self, target: Task, *, store: SqlExperienceStore) -> MetaFeatures:
        """Returns the meta-features of `target`, computed once for the same sources and then kept."""
        from transmeta.trials.describe import describe

        cards = self.environment().library().candidates(target)
        known = store.features(target.id)
        if known is not None and set(known.pairs) == {card.id for card in cards}:
            return known
        described = describe(target, environment=self.environment(), sources=cards)
        with suppress(ConflictError):  # another process is writing; the features are only kept to save time
            store.save_features(described)
        return described

    def proposer(self, cards: Sequence[ModelCard], *, strategies: tuple[str, ...] | None = None) -> Proposer:
        """Returns what draws fresh arms over `cards`."""
        from transmeta.strategies.catalogue import SpaceProposer

        return SpaceProposer(cards={card.id: card for card in cards}, strategies=strategies)

    def policy(self, target: Task, *, folder: Path | None = None) -> Policy:
        """Returns the policy in `folder`, or else the workspace's own, or else the one that ships with the package.

        Where none of them is there, it is the portfolio without experience, which draws arms evenly.

        Raises:
            InputError: if `folder` holds no policy.
        """
        proposer = self.proposer(self.environment().library().candidates(target))
        chosen = folder or self.found_policy()
        return (
            PortfolioLearner(proposer=proposer).initial() if chosen is None else load_policy(chosen, proposer=proposer)
        )

    def found_policy(self) -> Path | None:
        """Returns the folder of the workspace's own policy, or else of the packaged one; None if there is neither."""
        return next((path for path in (self.policy_folder, PACKAGED_POLICY) if (path / POLICY_FILE).is_file()), None)

    def note(self, policy: Policy, *, origin: str) -> VersionNote:
        """Returns where a version of the policy comes from, as of now."""
        table = getattr(policy, "table", None)
        targets = table.targets if isinstance(table, RegretTable) else ()
        return VersionNote(
            origin=origin,
            created_at=_now(),
            code=code_version(),
            policy=policy.name,
            targets=len(targets),
            data_sets=len({target.dataset for target in targets}),
        )

    def keep_policy(self) -> Policy | None:
        """Makes the policy in force a version of its own if it is none yet, and returns it; None if there is none.

        The one that ships with the package becomes the first version of the workspace.
        """
        versions, proposer = self.policy_versions, self.proposer(())
        if versions.keep_current(lambda policy: self.note(policy, origin="found"), proposer=proposer) is not None:
            return load_policy(self.policy_folder, proposer=proposer)
        packaged = self.found_policy()
        if packaged is None:
            return None
        policy = load_policy(packaged, proposer=proposer)
        versions.add(policy, self.note(policy, origin="packaged"))
        return policy

    @contextmanager
    def teaching(self) -> Iterator[None]:
        """Holds the right to teach the policy for the length of the block: of two at once one would be forgotten.

        Raises:
            ConflictError: if another process has it.
            UnavailableError: if the folder cannot be written.
        """
        lock = WriterLock(self.policy_folder)
        lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def bench(
        self,
        compute: Compute,
        *,
        run: str,
        store: SqlExperienceStore,
        checkpoints: Path | None = None,
        scheduler: SchedulerKind = SchedulerKind.NONE,
        on_result: OnResult = lambda result: None,
    ) -> Iterator[Workbench]:
        """Opens the executor that `compute` names, for the length of the block.

        Args:
            run: name of the run, for the provenance of its trials.
            scheduler: who stops trials early; Tune's own need Ray.

        Raises:
            InfeasibleError: if no node can run one trial.
            InputError: if the executor cannot do what is asked of it.
            UnavailableError: if the cluster is out of reach.
        """
        environment = self.environment(checkpoints=checkpoints)
        with _executor(compute, environment, scheduler, storage=self.runs) as executor:
            yield Workbench(
                executor=executor,
                store=store,
                provenance=functools.partial(_provenance, run, compute.executor.value),
                on_result=on_result,
            )


def parse_executor(text: str) -> ExecutorKind:
    """Returns the executor called `text`.

    Raises:
        UnknownNameError: if there is none.
    """
    try:
        return ExecutorKind(text)
    except ValueError:
        raise UnknownNameError("executor", name=text, known=[kind.value for kind in ExecutorKind]) from None


def parse_scheduler(text: str) -> SchedulerKind:
    """Returns the scheduler called `text`.

    Raises:
        UnknownNameError: if there is none.
    """
    try:
        return SchedulerKind(text)
    except ValueError:
        raise UnknownNameError("scheduler", name=text, known=[kind.value for kind in SchedulerKind]) from None


def check_scheduler(scheduler: SchedulerKind, *, compute: Compute) -> None:
    """Checks that the executor has the scheduler.

    Raises:
        InputError: if not.
    """
    if scheduler is not SchedulerKind.NONE and compute.executor is not ExecutorKind.TUNE:
        raise InputError(f"scheduler {scheduler.value}: it is Ray Tune's; use --executor tune, or --scheduler none")


@functools.cache
def code_version() -> str:
    """Returns the version, with the commit where the package runs from a checkout."""
    checkout = Path(__file__).parent.parent
    if not (checkout / ".git").exists():
        return __version__
    done = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False
    )
    commit = done.stdout.strip()
    return f"{__version__}+{commit}" if done.returncode == 0 and commit else __version__


@contextmanager
def _executor(
    compute: Compute, environment: "Environment", scheduler: SchedulerKind, *, storage: Path
) -> Iterator[TrialExecutor]:
    check_scheduler(scheduler, compute=compute)
    if compute.executor is ExecutorKind.LOCAL:
        if compute.gpus:
            raise InputError(f"gpus: {compute.gpus:g} asked for, but the local executor has none; use --executor ray")
        from transmeta.execution.local import LocalExecutor

        yield LocalExecutor(environment=environment)
        return
    from transmeta.execution.ray.session import session

    cpus = None if compute.workers is None else math.ceil(compute.workers * compute.cpus)
    with session(address=compute.address, cpus=cpus):
        from transmeta.execution.ray.pool import PoolExecutor
        from transmeta.execution.ray.resources import Resources, slots
        from transmeta.execution.ray.schedulers import asha
        from transmeta.execution.ray.tuner import TuneExecutor

        resources = Resources(cpus=compute.cpus, gpus=compute.gpus)
        is_train = compute.executor is ExecutorKind.TRAIN
        together = compute.workers if is_train and compute.workers else 1
        slots(resources, workers=together)  # refuses now what cannot be had, before anything is computed

        def train() -> "TrainExecutor":
            from transmeta.execution.ray.train_executor import TrainExecutor

            return TrainExecutor(environment=environment, storage=storage, resources=resources, workers=compute.workers)

        if is_train:
            yield train()
            return
        from transmeta.trials.planner import UnitPlanner

        planner = UnitPlanner(environment=environment)
        if compute.executor is ExecutorKind.TUNE:
            yield TuneExecutor(
                environment=environment,
                resources=resources,
                scheduler=asha() if scheduler is SchedulerKind.ASHA else None,
                planner=planner,
            )
            return
        with PoolExecutor(
            environment=environment, resources=resources, workers=compute.workers, planner=planner, divider=train
        ) as pool:
            yield pool


def _provenance(run: str, executor: str) -> Provenance:
    return Provenance(version=code_version(), run=run, executor=executor, created_at=_now())


def _now() -> str:
    """Returns UTC, ISO 8601."""
    return datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="milliseconds")
