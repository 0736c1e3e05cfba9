"""Jobs on a real cluster with token authentication, asked from processes of their own, as people do."""

import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest

from transmeta.cli import main
from transmeta.stores.sql import SqlExperienceStore

pytestmark = pytest.mark.ray

REPOSITORY = Path(__file__).parents[2]
START_S = 60.0
RAY_VARIABLES = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")

PRELUDE = """
import json, sys, time
from pathlib import Path
from transmeta.core import codec
from transmeta.errors import TransmetaError
from transmeta.execution.ray import jobs
address = sys.argv[1]
text = []
def submit(*command, **options):
    return jobs.submit(command, address=address, **options)
def follow(job):
    text.clear()
    return jobs.follow(job, address=address, write=text.append)
def say(**values):
    print("ANSWER" + codec.dumps(values), flush=True)
def failure(call):
    started_s = time.monotonic()
    try:
        call()
    except TransmetaError as error:
        say(kind=type(error).__name__, code=error.exit_code, text=str(error), seconds=time.monotonic() - started_s)
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    head: subprocess.Popen
    address: str
    gcs: str
    home: Path

    def ask(self, code, *, cwd, address=None, **variables):
        """Runs `code` after the prelude in a process of its own; returns what it said."""
        done = subprocess.run(
            [sys.executable, "-c", PRELUDE + code, address or self.address],
            cwd=cwd,
            env=environment(self.home) | variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return answers(done.stdout)


def answers(stdout):
    return [json.loads(line[6:]) for line in stdout.splitlines() if line.startswith("ANSWER")]


def environment(home):
    kept = {name: value for name, value in os.environ.items() if name not in RAY_VARIABLES}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return kept | {"HOME": str(home), "PATH": path, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}


def transmeta(*words, cwd, home):
    """Runs a command as people do, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "transmeta", *words],
        cwd=cwd,
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def runs_in(database):
    """Returns the executor that ran each of the stored trials."""
    with SqlExperienceStore.open(str(database)) as store:
        return [row.provenance.executor for row in store.read()]


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="module")
def cluster():
    """A cluster of our own, beside any other on this machine; ends with all its processes."""
    folder = Path(tempfile.mkdtemp(prefix="tmj-", dir="/tmp"))  # short: it holds Unix sockets
    gcs, dashboard, agent, client, grpc = free_ports(5)
    command = [
        str(REPOSITORY / "cluster" / "one-machine.sh"),
        "--block",
        "--num-cpus=2",
        f"--temp-dir={folder / 'ray'}",
        f"--port={gcs}",
        f"--dashboard-port={dashboard}",
        f"--dashboard-agent-listen-port={agent}",
        f"--dashboard-agent-grpc-port={grpc}",
        f"--ray-client-server-port={client}",
        "--min-worker-port=0",
        "--max-worker-port=0",
        "--object-store-memory=100000000",
    ]
    home = folder / "home"
    home.mkdir()
    with (folder / "start.log").open("w") as log:
        head = subprocess.Popen(command, env=environment(home), cwd=folder, stdout=log, stderr=log)
    started = Cluster(head=head, address=f"http://127.0.0.1:{dashboard}", gcs=f"127.0.0.1:{gcs}", home=home)
    try:
        wait_for_agent(head, agent, log=folder / "start.log")
        yield started
    finally:
        end(head)
        shutil.rmtree(folder, ignore_errors=True)


def end(head):
    """Kills the cluster with the processes that it started, and no others; Ray's own way takes up to 20 s."""
    if head.poll() is not None:
        return
    ours = [psutil.Process(head.pid), *psutil.Process(head.pid).children(recursive=True)]
    for process in ours:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    head.wait()
    psutil.wait_procs(ours, timeout=5)


def wait_for_agent(head, port, *, log):
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s:
        assert head.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"the cluster did not start:\n{log.read_text()}")


@contextmanager
def server(status) -> Iterator[str]:
    """A server that answers everything with `status`, or never if it is None."""
    is_over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if status is None:
                is_over.wait(60)
                return
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{http.server_port}"
        finally:
            is_over.set()
            http.shutdown()


def make_wheel(folder):
    """A wheel with a package and an entry point that no node has."""
    wheel = folder / "probe-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("probe/__init__.py", "WORD = 'from the wheel'\n")
        archive.writestr("probe-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: probe\nVersion: 1.0\n")
        archive.writestr("probe-1.0.dist-info/entry_points.txt", "[transmeta.tasks]\nprobe_task = probe:WORD\n")
    return wheel


def test_a_job_runs_once_from_another_directory_and_the_same_submission_follows_it_again(cluster, tmp_path):
    runs = tmp_path / "runs"
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    (shipped / "words.txt").write_text("shipped with the job")
    wheel = make_wheel(tmp_path)
    script = (
        f"open({str(runs)!r}, 'a').write('x'); print(open('words.txt').read());"
        "import probe; from transmeta import plugins; print(probe.WORD, plugins.names('transmeta.tasks'))\n"
        "from transmeta.execution.ray.session import session; import ray\n"
        "with session(): print('cpus', ray.cluster_resources()['CPU'])\n"
        "print('$HOME; `id`')"
    )
    code = (
        f"def send(): return submit('python', '-c', {script!r}, working_dir=Path({str(shipped)!r}), "
        f"wheel=Path({str(wheel)!r}))\n"
        "first = send(); outcome = follow(first.id)\n"
        "say(new=first.is_new, id=first.id, code=outcome.exit_code, log=''.join(text))\n"
        "second = send(); outcome = follow(second.id)\n"
        "say(new=second.is_new, id=second.id, code=outcome.exit_code, log=''.join(text))\n"
        "say(listed=[state.id for state in jobs.list_jobs(address=address)])\n"
    )

    first, second, listed = cluster.ask(code, cwd=tmp_path)

    assert (first["new"], first["code"]) == (True, 0), first["log"]
    assert "shipped with the job" in first["log"]
    assert "from the wheel" in first["log"]
    assert "probe_task" in first["log"], "the wheel's entry points must be found"
    assert "cpus 2.0" in first["log"], "the job's session must join the cluster that runs the job"
    assert "\n$HOME; `id`\n" in first["log"], "no shell may read the words"
    assert (second["new"], second["code"], second["id"]) == (False, 0, first["id"])
    assert second["log"] == first["log"]
    assert runs.read_text() == "x"
    assert first["id"] in listed["listed"]


def test_the_exit_code_of_the_job_is_carried_through_and_again_runs_it_anew(cluster, tmp_path):
    code = (
        "command = ('python', '-c', 'import sys; print(\"it ends\"); sys.exit(3)')\n"
        "first = submit(*command); outcome = follow(first.id)\n"
        "say(id=first.id, status=outcome.status, code=outcome.exit_code, log=''.join(text))\n"
        "known = submit(*command); say(id=known.id, new=known.is_new, code=known.known.exit_code)\n"
        "anew = submit(*command, again=True); say(id=anew.id, new=anew.is_new)\n"
        "latest = submit(*command); say(id=latest.id, new=latest.is_new)\n"
    )

    first, known, anew, latest = cluster.ask(code, cwd=tmp_path)

    assert (first["status"], first["code"]) == ("FAILED", 3)
    assert "it ends" in first["log"]
    assert known == {"id": first["id"], "new": False, "code": 3}
    assert anew == {"id": first["id"] + "-2", "new": True}
    assert latest == {"id": anew["id"], "new": False}


def test_the_command_line_submits_itself_and_ends_as_its_job_does(cluster, tmp_path):
    stub = tmp_path / "shipped" / "transmeta"
    stub.mkdir(parents=True)
    (stub / "__init__.py").touch()
    (stub / "__main__.py").write_text("import sys; print('JOB', *sys.argv[1:]); sys.exit(7)")
    (tmp_path / "shipped" / "rows.csv").write_text("a,label\n1,x\n")
    words = ["--working-dir", "shipped", "--workers", "2", "--json"]
    job = ["adapt", "--data", "shipped/rows.csv", "--out", "model", "--budget", "5s"]

    done = transmeta("submit", "--address", cluster.address, *words, "--", *job, cwd=tmp_path, home=cluster.home)

    expected = f"JOB adapt --data ./rows.csv --out {tmp_path}/model --budget 5s --workers 2"
    assert f"{expected} --workspace {tmp_path}/.transmeta" in done.stderr
    assert done.returncode == 7, done.stderr
    assert "WebSocket" not in done.stderr, "Ray's own talk is of no use to people"
    assert json.loads(done.stdout)["job"]["exit_code"] == 7


def test_a_submitted_adapt_finds_what_a_local_one_finds_and_submitted_again_does_no_work(cluster, tmp_path, capsys):
    adapt = ["adapt", "digits@3", "--trials", "3", "--seed", "1", "--json", "--quiet"]
    assert main([*adapt, "--workspace", str(tmp_path / "alone"), "--executor", "local"]) == 0
    expected = json.loads(capsys.readouterr().out)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    words = ["submit", "--address", cluster.address, "--workers", "2", "--json", "--", *adapt]

    first, again = (transmeta(*words, cwd=elsewhere, home=cluster.home) for _ in range(2))

    assert (first.returncode, again.returncode) == (0, 0), first.stderr
    found, known = (
        json.JSONDecoder().raw_decode(done.stderr[done.stderr.index("{\n") :])[0] for done in (first, again)
    )
    same = ("target", "test_score", "validation_score", "source", "strategy", "params", "trials")
    assert {name: found[name] for name in same} == {name: expected[name] for name in same}
    assert known == found, "the log is that of the first time"
    assert [json.loads(done.stdout)["is_new"] for done in (first, again)] == [True, False]
    assert runs_in(elsewhere / ".transmeta" / "experience.db") == ["ray"] * 3


def test_a_job_that_is_stopped_ends_and_a_running_one_cannot_be_run_again(cluster, tmp_path):
    code = (
        "command = ('sleep', '120')\n"
        "job = submit(*command, submission_id='sleeper').id\n"
        "while jobs.status(job, address=address).status != 'RUNNING': time.sleep(0.2)\n"
        "failure(lambda: submit(*command, submission_id='sleeper', again=True))\n"
        "state = jobs.stop(job, address=address); say(status=state.status, code=state.exit_code)\n"
        "failure(lambda: jobs.stop('sleeping', address=address))\n"
    )

    conflict, stopped, unknown = cluster.ask(code, cwd=tmp_path, address=cluster.gcs)

    assert (conflict["kind"], conflict["code"]) == ("ConflictError", 6)
    assert stopped == {"status": "STOPPED", "code": 130}
    assert (unknown["code"], "did you mean 'sleeper'" in unknown["text"]) == (2, True)


def test_without_the_right_token_the_message_says_how_to_give_it(cluster, tmp_path):
    code = "failure(lambda: submit('true'))\n"

    (missing,) = cluster.ask(code, cwd=tmp_path, HOME=str(tmp_path))
    (wrong,) = cluster.ask(code, cwd=tmp_path, RAY_AUTH_TOKEN="wrong")

    for answer in (missing, wrong):
        assert (answer["kind"], answer["code"]) == ("UnavailableError", 75)
        assert "RAY_AUTH_TOKEN_PATH" in answer["text"]


def test_a_cluster_that_is_not_there_is_reported_within_seconds(cluster, tmp_path):
    (port,) = free_ports(1)
    code = (
        "from transmeta.execution.ray import job_client\n"
        "job_client.ANSWER_S = 2.0\n"
        "for address in sys.argv[1].split(): failure(lambda: submit('true'))\n"
    )

    with server(404) as foreign, server(None) as silent:
        addresses = f"http://127.0.0.1:{port} 127.0.0.1:{port} {foreign} {silent} head.invalid:6379"
        said = cluster.ask(code, cwd=tmp_path, address=addresses)

    assert [(answer["kind"], answer["code"]) for answer in said] == [("UnavailableError", 75)] * 5
    assert all(answer["seconds"] < 10 for answer in said)


def test_a_cluster_that_dies_while_its_job_is_followed_ends_the_following_with_75(cluster, tmp_path):
    """The last test in this file: the cluster is gone afterwards."""
    code = (
        "from transmeta.execution.ray import job_log\n"
        "job_log.PATIENCE_S = 1.0\n"
        "job = submit('python', '-c', 'import time; print(\"begun\"); time.sleep(120)').id\n"
        "def write(text): print(text, flush=True)\n"
        "failure(lambda: jobs.follow(job, address=address, write=write))\n"
    )
    follower = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + code, cluster.address],
        cwd=tmp_path,
        env=environment(cluster.home),
        stdout=subprocess.PIPE,
        text=True,
    )

    while "begun" not in (line := follower.stdout.readline()):
        assert line, "the job's log ended before the job began"
    end(cluster.head)
    rest, _ = follower.communicate(timeout=30)

    (lost,) = answers(rest)
    assert (lost["kind"], lost["code"]) == ("UnavailableError", 75)
    assert "run the same command again to follow it" in lost["text"]
