"""The versions of a policy: each in a folder of its own beside the one in force, so that any can be put back."""

import dataclasses
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, final

from transmeta.core import codec
from transmeta.core.protocols import Policy
from transmeta.core.space import Proposer
from transmeta.errors import InputError, UnavailableError
from transmeta.policies.files import POLICY_FILE, load_policy, save_policy
from transmeta.training.files import write_atomically, write_folder_atomically

NOTE_FILE: Final = "version.json"
FOLDER: Final = "versions"
UPDATE: Final = "update"
KEPT: Final = 20
"""Updates that are kept; a search makes one, of a megabyte or two. Versions of other origins stay all."""

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VersionNote:
    """Where a version comes from.

    Attributes:
        origin: `packaged`, `meta-train`, `update`, or `found` for a policy of unknown origin; `damaged` where the note
            cannot be read.
        created_at: UTC, ISO 8601.
        parent: the version that it was learned on top of.
        targets, data_sets: that it knows.
        before, after: regret on left-out data sets of its parent and of itself, where they were compared.
    """

    origin: str
    created_at: str
    code: str
    policy: str
    parent: int | None = None
    targets: int = 0
    data_sets: int = 0
    before: float | None = None
    after: float | None = None


DAMAGED: Final = VersionNote(origin="damaged", created_at="", code="", policy="")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PolicyVersion:
    """A version by its number, from 1."""

    number: int
    is_current: bool
    note: VersionNote


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PolicyVersions:
    """The versions of the policy in `folder`. The one in force is that whose file equals the folder's."""

    folder: Path

    def known(self) -> tuple[PolicyVersion, ...]:
        """Returns all versions that are kept, oldest first."""
        current = self.current()
        return tuple(
            PolicyVersion(number=number, is_current=number == current, note=self._note(number))
            for number in self._numbers()
        )

    def current(self) -> int | None:
        """Returns the number of the version in force; None if that is not among the versions, or nothing is."""
        path = self.folder / POLICY_FILE
        if not path.is_file():
            return None
        content = path.read_bytes()
        same = [number for number in self._numbers() if (self._place(number) / POLICY_FILE).read_bytes() == content]
        return max(same, default=None)

    def newest(self) -> int | None:
        """Returns the highest number; None without versions. It is in force unless an older one was put back."""
        return max(self._numbers(), default=None)

    def add(self, policy: Policy, note: VersionNote) -> int:
        """Keeps `policy` as a new version, puts it in force, and returns its number; the oldest updates are removed.

        Raises:
            UnavailableError: if the folder cannot be written.
        """

        def fill(folder: Path) -> None:
            save_policy(policy, folder)
            write_atomically(folder / NOTE_FILE, json.dumps(codec.to_json(note), indent=1).encode())

        with self._writing():
            number = self._reserved()
            write_folder_atomically(self._place(number), fill)
            save_policy(policy, self.folder)
        for update in [old for old in self._numbers() if self._note(old).origin == UPDATE][:-KEPT]:
            shutil.rmtree(self._place(update), ignore_errors=True)
        return number

    def keep_current(self, note: Callable[[Policy], VersionNote], *, proposer: Proposer) -> int | None:
        """Makes the policy in force a version if it is none yet, and returns its number; None if there is no policy."""
        if not (self.folder / POLICY_FILE).is_file():
            return None
        known = self.current()
        if known is not None:
            return known
        policy = load_policy(self.folder, proposer=proposer)
        return self.add(policy, note(policy))

    def restore(self, number: int, *, proposer: Proposer) -> None:
        """Puts a version in force; the others stay.

        Raises:
            InputError: if there is no such version.
            UnavailableError: if the folder cannot be written.
            UnsafeFileError: if it is damaged; what is in force stays.
        """
        if number not in self._numbers():
            known = ", ".join(map(str, self._numbers())) or "none"
            raise InputError(f"{self.folder}: there is no version {number} of the policy; known: {known}")
        policy = load_policy(self._place(number), proposer=proposer)
        with self._writing():
            save_policy(policy, self.folder)

    def before_current(self) -> int:
        """Returns the version that the one in force was made from.

        Raises:
            InputError: if there is none.
        """
        current = self.current()
        older = [number for number in self._numbers() if current is None or number < current]
        if not older:
            raise InputError(
                f"{self.folder}: no older version of the policy to go back to; see: transmeta policy versions"
            )
        parent = None if current is None else self._note(current).parent
        return parent if parent in older else max(older)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UnavailableError(
                f"{self.folder}: the policy cannot be written ({error.strerror}); check the folder and its rights"
            ) from error

    def _reserved(self) -> int:
        """Returns a number that no other process gets."""
        number = (self.newest() or 0) + 1
        while True:
            try:
                self._place(number).mkdir(parents=True)
            except FileExistsError:
                number += 1
            else:
                return number

    def _numbers(self) -> list[int]:
        places = (self.folder / FOLDER).glob(f"*/{POLICY_FILE}")
        return sorted(int(path.parent.name) for path in places if path.parent.name.isdecimal())

    def _place(self, number: int) -> Path:
        return self.folder / FOLDER / f"{number:04d}"

    def _note(self, number: int) -> VersionNote:
        path = self._place(number) / NOTE_FILE
        try:
            return codec.from_json(VersionNote, json.loads(path.read_bytes()), where=str(path))
        except (OSError, ValueError) as error:
            logger.warning("%s: not a version's note (%s); restore it or delete the folder", path, error)
            return DAMAGED
