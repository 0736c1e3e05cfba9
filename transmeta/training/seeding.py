"""Seeds that are derived, never shared."""

import hashlib


def derive_seed(root: int, *names: str | int) -> int:
    """Returns a seed in [0, 2^63) for the child of `root` called `names`; the same on every machine.

    Example:
        >>> derive_seed(0, "split", "digits") == derive_seed(0, "split", "digits")
        True
    """
    text = "/".join(str(part) for part in (root, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
