"""Where a process finds models and leaves results; small and JSON-able, so that workers can be told."""

import dataclasses
from pathlib import Path

from transmeta.models.library import ModelLibrary


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What trials need beside their specs; none of it changes their numbers.

    Attributes:
        model_folders: folders with models, beside those of the package.
        checkpoint_folder: where trained models are kept, one folder a trial id; None to keep none.
        cache_folder: where outputs of frozen stages and measured costs are kept; None to keep them in memory only.
    """

    model_folders: tuple[str, ...] = ()
    checkpoint_folder: str | None = None
    cache_folder: str | None = None

    def library(self) -> ModelLibrary:
        """Returns the models at hand."""
        return ModelLibrary([Path(folder) for folder in self.model_folders])
