"""Whether anything listens where a cluster is said to be: Ray itself would try for minutes, and end the process."""

import socket
from typing import Final

from transmeta.errors import InputError, UnavailableError

CONNECT_S: Final = 5.0
NAMES: Final = ("auto", "local")
"""Addresses that Ray resolves itself."""


def check_reachable(address: str) -> None:
    """Checks that a cluster's head may be at `address`, such as `auto`, `10.0.0.1:6379` or `ray://head:10001`.

    Raises:
        InputError: if it is no address.
        UnavailableError: if nothing listens there.
    """
    if address in NAMES:
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and "/" not in host and port.isascii() and port.isdecimal() and int(port) < 2**16):
        raise InputError(f"address {address!r}: give auto or HOST:PORT, such as 10.0.0.1:6379")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S):
            pass
    except OSError as error:
        raise UnavailableError(
            f"no Ray cluster at {address} ({error.strerror or error}); start one with `ray start --head`"
        ) from error
