"""The errors that transmeta raises on purpose, and the exit code that the command line gives each.

TransmetaError
 ├─ InputError (also a ValueError)     what the user gave cannot be used              exit 2
 │   ├─ DataError                      a data set: empty, one class, unreadable, NaN
 │   ├─ UnknownNameError               a strategy, task, model or policy that is not there
 │   ├─ AmbiguousNameError             the start of a name that several have
 │   └─ ConfigError                    a configuration file or a hyperparameter
 ├─ NoValidTrialError                  every trial failed, so there is no result      exit 3
 ├─ InfeasibleError                    the cluster can never give what was asked      exit 4
 ├─ UnsafeFileError                    a file that is corrupt, foreign or could run   exit 5
 ├─ ConflictError                      another writer, or a newer schema              exit 6
 └─ UnavailableError                   the cluster or the store is out of reach       exit 75
TrialFailure                           one trial's strategy failed: data, not an error of the run
 └─ Diverged                           a loss that is not finite
"""

import difflib
from collections.abc import Iterable
from typing import ClassVar


class TransmetaError(Exception):
    """Root of all errors raised on purpose; its message says what, which value and what to do."""

    exit_code: ClassVar[int] = 1


class InputError(TransmetaError, ValueError):
    """What the user gave cannot be used."""

    exit_code = 2


class DataError(InputError):
    """A data set cannot be used: empty, one class, unreadable, not finite."""


class UnknownNameError(InputError):
    """A name that is not registered; the message offers the nearest one."""

    def __init__(self, kind: str, *, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        self._arguments = (kind, name, tuple(known))
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(known) or 'none'}"
        super().__init__(f"unknown {kind} {name!r}; {hint}")

    def __reduce__(self) -> tuple[object, ...]:
        """Lets the error travel from a worker to its driver, although its arguments are keywords."""
        return _unknown_name, self._arguments


class AmbiguousNameError(InputError):
    """The start of a name that several have; the message lists them."""

    def __init__(self, kind: str, *, name: str, candidates: Iterable[str]) -> None:
        candidates = sorted(candidates)
        self._arguments = (kind, name, tuple(candidates))
        super().__init__(f"ambiguous {kind} {name!r}; give more of its name, it could be: {', '.join(candidates)}")

    def __reduce__(self) -> tuple[object, ...]:
        """Lets the error travel from a worker to its driver, although its arguments are keywords."""
        return _ambiguous_name, self._arguments


def _unknown_name(kind: str, name: str, known: tuple[str, ...]) -> UnknownNameError:
    return UnknownNameError(kind, name=name, known=known)


def _ambiguous_name(kind: str, name: str, candidates: tuple[str, ...]) -> AmbiguousNameError:
    return AmbiguousNameError(kind, name=name, candidates=candidates)


class ConfigError(InputError):
    """A configuration file or a hyperparameter has a wrong key or value."""


class NoValidTrialError(TransmetaError):
    """Every trial failed, so there is nothing to return."""

    exit_code = 3


class InfeasibleError(TransmetaError):
    """The cluster can never provide the resources that were asked for."""

    exit_code = 4


class UnsafeFileError(TransmetaError, ValueError):
    """A file that is corrupt, of another model, or of a format that could run code."""

    exit_code = 5


class ConflictError(TransmetaError):
    """Somebody else holds it, or it was written by a newer version."""

    exit_code = 6


class UnavailableError(TransmetaError):
    """The cluster or the store is out of reach; running the same command again resumes."""

    exit_code = 75


class TrialFailure(Exception):
    """One trial's strategy failed; recorded as FAILED with this message, and the run goes on."""


class Diverged(TrialFailure):
    """The loss or the weights stopped being finite."""
