"""transmeta learns how to transfer: which source, which strategy, which hyperparameters, or not at all."""

from typing import TYPE_CHECKING, Final

from transmeta.version import __version__

if TYPE_CHECKING:
    from transmeta.api import TransferClassifier, adapt, recommend

__all__ = ["TransferClassifier", "__version__", "adapt", "recommend"]

_PUBLIC: Final = ("TransferClassifier", "adapt", "recommend")


def __getattr__(name: str) -> object:
    """Loads the Python interface when it is first used, so that `import transmeta` stays light."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'transmeta' has no attribute {name!r}")
    from transmeta import api

    value: object = getattr(api, name)
    return value
