"""The ways to split a table into what is learned from and what is tested."""

from enum import StrEnum


class Split(StrEnum):
    """One data set, one domain or one source is left out; or the data sets come one after the other."""

    TARGET = "target"
    FAMILY = "family"
    SOURCE = "source"
    TIME = "time"
