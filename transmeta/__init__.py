"""transmeta learns how to transfer: which source, which strategy, which hyperparameters, or not at all."""

__version__ = "0.1.0"
