"""The one place that connects to Ray, with the settings that must stand before Ray is imported."""

import gc
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from transmeta.errors import UnavailableError
from transmeta.execution.ray.reach import check_reachable

SETTINGS: Final = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",  # the controller's poll: a report waits for it, 2 s by default
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial that failed at once has no metric, and that is a result
    "OMP_NUM_THREADS": "1",
}
WORKER_SETTINGS: Final = SETTINGS | {
    # glibc keeps freed memory instead of returning it page by page: up to twice as fast, at the peak's memory
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
    "MALLOC_TOP_PAD_": "268435456",
}
OWN_SETTINGS: Final = WORKER_SETTINGS | {
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # nobody reclaims this machine; saves a process for each training
}


def prepare_environment() -> None:
    """Sets what Ray reads when it is imported, where the user has not set it."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)


prepare_environment()  # before the import below: Ray reads these once, at its own import

import ray  # noqa: E402

logging.getLogger("ray.tune").setLevel(logging.ERROR)  # it warns of files that we ask it not to write
# It warns of each cluster of ours that it is as safe as by default.
logging.getLogger("ray._private.authentication.authentication_token_setup").setLevel(logging.ERROR)


@contextmanager
def session(*, address: str | None = None, cpus: int | None = None, has_dashboard: bool = False) -> Iterator[None]:
    """Connects to the cluster at `address`, or starts one in this machine, for the length of the block.

    A session that is already open is used as it is, and left open. Inside a Ray job, the job's own cluster is used.

    Args:
        address: such as `auto` or `10.0.0.1:6379`; None for a cluster of our own.
        cpus: of a cluster of our own; None for all of this machine.

    Raises:
        InputError: if `address` is none.
        UnavailableError: if there is no cluster at `address`.
    """
    if ray.is_initialized():
        yield
        return
    target = address or os.environ.get("RAY_ADDRESS") or "local"
    check_reachable(target)
    try:
        if target == "local":
            ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=has_dashboard,
                log_to_driver=False,
                configure_logging=False,
                runtime_env={"env_vars": dict(OWN_SETTINGS)},
            )
        else:
            ray.init(address=target, log_to_driver=False, runtime_env={"env_vars": dict(WORKER_SETTINGS)})
    except (ConnectionError, RuntimeError, TimeoutError) as error:
        raise UnavailableError(f"no Ray cluster at {target} ({error}); start one with `ray start --head`") from error
    gc.collect()
    gc.freeze()  # what is loaded stays: to look through it for garbage took 0.25 s after every 3,000 short trials
    try:
        yield
    finally:
        gc.unfreeze()
        ray.shutdown()
