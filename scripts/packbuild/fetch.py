"""Brings the pinned packages to a folder, through the ordinary clients npm, apt-get and dpkg-deb."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class FetchError(RuntimeError):
    """A package could not be downloaded or unpacked."""


def fetch_npm(versions: Mapping[str, str], *, work: Path) -> Path:
    """Installs npm packages at exact versions, runs none of their scripts, and returns `node_modules`."""
    folder = work / "npm"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {"name": "packs", "version": "1.0.0", "private": True, "dependencies": dict(sorted(versions.items()))}
    modules = folder / "node_modules"
    if any(_npm_version(modules / name) != version for name, version in versions.items()):
        (folder / "package.json").write_text(json.dumps(wanted, indent=1), encoding="utf-8")
        _run(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"], cwd=folder)
    return modules


def fetch_debian(package: str, *, version: str, work: Path) -> Path:
    """Downloads one Debian package at an exact version, unpacks it without installing, and returns its root."""
    root = work / "debian" / f"{package}={version}"
    if root.exists():
        return root
    downloads = work / "debian" / "downloads" / package
    downloads.mkdir(parents=True, exist_ok=True)
    _run(["apt-get", "download", "-q", f"{package}={version}"], cwd=downloads)
    archives = sorted(downloads.glob("*.deb"))
    if len(archives) != 1:
        raise FetchError(f"expected one archive of {package} in {downloads}, found {len(archives)}; empty the folder")
    partial = root.with_name(root.name + ".part")
    _run(["dpkg-deb", "-x", str(archives[0]), str(partial)], cwd=downloads)
    partial.rename(root)  # a build killed while unpacking must not leave a half-filled root behind
    return root


def _npm_version(folder: Path) -> str | None:
    manifest = folder / "package.json"
    if not manifest.exists():
        return None
    return str(json.loads(manifest.read_text(encoding="utf-8"))["version"])


def _run(command: Sequence[str], *, cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        tail = done.stderr.strip().splitlines()[-5:]
        raise FetchError(
            f"`{' '.join(command)}` exited with {done.returncode}: {' | '.join(tail)}. "
            "Check that the client is installed and its package lists are fresh (apt-get update)."
        )
