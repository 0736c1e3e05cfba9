"""How long this command has been running."""

import time


def elapsed_s() -> float:
    """Returns seconds since this process was started: what a budget of time has paid already."""
    import psutil

    return max(0.0, time.time() - float(psutil.Process().create_time()))
