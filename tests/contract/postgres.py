"""A real PostgreSQL server for tests, from the binaries that the package `pgserver` brings; no root, no apt.

PostgreSQL refuses to run as root, so under root it runs as `nobody`. Its data lies in a short temporary folder, because
the path of a Unix socket has at most 107 characters.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
import pytest

START_S = 60.0


class PostgresServer:
    """One server on a Unix socket, without network; it can be killed and started again."""

    def __init__(self, folder: Path, *, binaries: Path, user: str | None) -> None:
        self._folder = folder
        self._binaries = binaries
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "log"
        self._run("initdb", "-D", folder / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")

    def url(self, *, schema: str = "public") -> str:
        """Returns the address of the tables in `schema`, as a user of the store would write it."""
        return f"postgresql://postgres@/postgres?host={self._folder}&options=-csearch_path%3D{schema}"

    def create_schema(self, name: str) -> str:
        """Makes an empty room for tables, unless it is there, and returns its address."""
        with self._connect() as connection:
            connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{name}"')
        return self.url(schema=name)

    def execute(self, statement: str) -> None:
        """Executes `statement` as the database's owner."""
        with self._connect() as connection:
            connection.execute(statement)

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        deadline = time.monotonic() + START_S
        while True:
            self._launch()
            while self._process.poll() is None and time.monotonic() < deadline:
                try:
                    self._connect().close()
                    return
                except psycopg.OperationalError:
                    time.sleep(0.02)
            # After a kill, the old server's children may hold its memory for a moment, and no new one can start.
            self.kill()
            if time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.1)

    def kill(self) -> None:
        """Ends the server as a power cut would."""
        self._process.send_signal(signal.SIGKILL)
        # Unless it is waited for, its process id lives on and its lock file counts as held.
        self._process.wait()

    def stop(self) -> None:
        """Ends the server in order."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(START_S)

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(self.url(), autocommit=True, connect_timeout=5)

    def _launch(self) -> None:
        settings = ["listen_addresses=", f"unix_socket_directories={self._folder}", "max_connections=20"]
        options = [item for setting in settings for item in ("-c", setting)]
        command = [str(self._binaries / "postgres"), "-D", str(self._folder / "data"), *options]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **self._identity())

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self._binaries / program), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=START_S, **self._identity())
        assert done.returncode == 0, done.stderr

    def _identity(self) -> dict[str, object]:
        environment = {"PATH": os.defpath, "LC_ALL": "C", "HOME": str(self._folder)}
        return {"cwd": self._folder, "env": environment, **run_as(self._user)}


@pytest.fixture(scope="session")
def postgres_server():
    """A running server, for all tests of a session."""
    folder = Path(tempfile.mkdtemp(prefix="pg", dir=shortest_temporary_folder()))
    try:
        user = "nobody" if os.geteuid() == 0 else None
        if user is not None:
            os.chown(folder, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
        server = PostgresServer(folder, binaries=find_binaries(folder, user=user), user=user)
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def shortest_temporary_folder() -> str | None:
    """Returns /tmp, where it can be used: a long TMPDIR would not fit into a socket's path."""
    return "/tmp" if os.access("/tmp", os.W_OK) else None


def run_as(user: str | None) -> dict[str, object]:
    """Returns the arguments that make a subprocess run as `user`; None for the present one."""
    if user is None:
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": ()}


def find_binaries(folder: Path, *, user: str | None) -> Path:
    """Returns where initdb and postgres are, copied into `folder` if `user` could not run them where they are."""
    # Found without being imported: the package's own code makes system users and changes folders' rights.
    spec = importlib.util.find_spec("pgserver")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package pgserver is not installed: pip install 'transmeta[dev]'")
    package = Path(spec.submodule_search_locations[0])
    if not can_run(package / "pginstall" / "bin" / "postgres", folder=folder, user=user):
        # Programs and libraries find each other by their relative places.
        copy = folder / "site" / package.name
        shutil.copytree(package / "pginstall", copy / "pginstall", symlinks=True)
        libraries = package.with_name("pgserver.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, copy.with_name(libraries.name), symlinks=True)
        for path in (folder / "site", *(folder / "site").rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755)
        package = copy
    return package / "pginstall" / "bin"


def can_run(program: Path, *, folder: Path, user: str | None) -> bool:
    """Returns whether `user` can start `program`."""
    try:
        done = subprocess.run([program, "--version"], cwd=folder, capture_output=True, check=False, **run_as(user))
    except PermissionError:
        return False
    return done.returncode == 0
