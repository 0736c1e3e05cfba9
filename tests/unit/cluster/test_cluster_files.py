"""The files that say where transmeta runs: their form, and what makes them safe."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

REPOSITORY = Path(__file__).parents[3]
CLUSTER = REPOSITORY / "cluster"
SCRIPTS = ("one-machine.sh", "slurm.sbatch")


@pytest.fixture(scope="module")
def launcher():
    return yaml.safe_load((CLUSTER / "cluster-launcher.yaml").read_text())


@pytest.fixture(scope="module")
def manifests():
    return {each["kind"]: each["spec"] for each in yaml.safe_load_all((CLUSTER / "kuberay-rayjob.yaml").read_text())}


@pytest.fixture(scope="module")
def pods(manifests):
    """The pods of the job by name: head, worker groups and submitter."""
    job = manifests["RayJob"]
    cluster = job["rayClusterSpec"]
    groups = {group["groupName"]: group["template"]["spec"] for group in cluster["workerGroupSpecs"]}
    head = cluster["headGroupSpec"]["template"]["spec"]
    return {"head": head, "submitter": job["submitterPodTemplate"]["spec"], **groups}


def pinned(package):
    found = re.search(rf"^{package}==(\S+)$", (REPOSITORY / "constraints.txt").read_text(), flags=re.MULTILINE)
    return found[1]


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_executable_stop_at_the_first_error_and_can_be_read_by_bash(name):
    script = CLUSTER / name

    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail\numask 077\n" in script.read_text()


@pytest.mark.parametrize("name", [*SCRIPTS, "cluster-launcher.yaml", "Dockerfile"])
def test_ray_is_started_with_token_authentication(name):
    assert "RAY_AUTH_MODE=token" in (CLUSTER / name).read_text()


@pytest.mark.parametrize("name", sorted(path.name for path in CLUSTER.iterdir() if path.is_file()))
def test_no_dashboard_is_opened_to_the_network_and_no_token_is_written_down(name):
    text = (CLUSTER / name).read_text()

    assert not re.search(r"dashboard-host[= ]['\"]?(0\.0\.0\.0|::)", text)
    assert not re.search(r"RAY_AUTH_TOKEN=\S", text)
    assert not re.search(r"postgres\S*://[^@\s]*:[^@\s]*@", text), "no password in an address"


def test_the_launcher_file_satisfies_the_schema_of_ray(launcher):
    ray = Path(importlib.util.find_spec("ray").submodule_search_locations[0])
    schema = json.loads((ray / "autoscaler" / "ray-schema.json").read_text())

    jsonschema.validate(launcher, schema)


def test_the_launched_cluster_has_a_head_without_trials_and_workers_with_gpus_that_come_and_go(launcher):
    types = launcher["available_node_types"]

    assert types[launcher["head_node_type"]]["resources"] == {"CPU": 0}
    assert types["gpu"]["resources"]["GPU"] == 1
    assert types["gpu"]["min_workers"] == 0
    assert max(each["max_workers"] for each in types.values()) <= launcher["max_workers"]


def test_launched_nodes_have_no_public_address_and_keep_their_credentials_from_proxies(launcher):
    assert launcher["provider"]["use_internal_ips"] is True
    for each in launcher["available_node_types"].values():
        assert each["node_config"]["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}


def test_every_ray_start_of_the_launcher_carries_the_authentication(launcher):
    commands = [*launcher["head_start_ray_commands"], *launcher["worker_start_ray_commands"]]

    starts = [command for command in commands if "ray start" in command]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token ray start" in command for command in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0]


def test_the_kubernetes_job_resumes_on_a_new_cluster_and_leaves_none_behind(manifests):
    job = manifests["RayJob"]

    assert job["backoffLimit"] > 0
    assert job["shutdownAfterJobFinishes"] is True
    assert job["entrypointNumCpus"] == 0
    assert job["entrypoint"].startswith("python -m transmeta ")
    assert "--workspace /shared/" in job["entrypoint"]


def test_the_kubernetes_cluster_uses_tokens_the_second_autoscaler_and_the_tested_ray(manifests):
    cluster = manifests["RayJob"]["rayClusterSpec"]

    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["autoscalerOptions"]["version"] == "v2"
    assert cluster["rayVersion"] == pinned("ray")
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_no_container_is_root_or_may_become_it(manifests, pods):
    containers = [container for pod in pods.values() for container in pod["containers"]]
    autoscaler = manifests["RayJob"]["rayClusterSpec"]["autoscalerOptions"]

    for pod in pods.values():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 1000
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in [*containers, autoscaler]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}


def test_only_the_head_may_ask_kubernetes_for_anything(pods):
    assert [name for name, pod in pods.items() if pod.get("automountServiceAccountToken") is not False] == ["head"]


def test_each_container_says_what_it_takes_and_one_kind_of_worker_takes_a_gpu(pods):
    for pod in pods.values():
        for container in pod["containers"]:
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert {"cpu", "memory"} <= container["resources"]["limits"].keys()
    assert pods["gpu"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_all_nodes_see_the_shared_volume_under_the_same_path(manifests, pods):
    assert manifests["PersistentVolumeClaim"]["accessModes"] == ["ReadWriteMany"]
    for name in ("head", "cpu", "gpu"):
        assert {"name": "shared", "mountPath": "/shared"} in pods[name]["containers"][0]["volumeMounts"]


def test_the_cluster_is_reached_from_its_namespace_and_the_operator_only(manifests):
    policy = manifests["NetworkPolicy"]

    assert policy["policyTypes"] == ["Ingress"]
    assert policy["ingress"][0] == {"from": [{"podSelector": {}}]}
    assert policy["ingress"][1]["ports"] == [{"protocol": "TCP", "port": 8265}]


def test_the_image_installs_what_was_tested_and_does_not_run_as_root():
    lines = (CLUSTER / "Dockerfile").read_text().splitlines()

    assert "FROM python:3.11-slim" in lines
    assert all("-c constraints.txt" in line for line in lines if "pip install" in line)
    assert [line for line in lines if line.startswith("USER")] == ["USER 1000:1000"]
    copied = " ".join(line for line in lines if line.startswith("COPY")).split()
    for name in ("constraints.txt", "pyproject.toml", "README.md", "LICENSE", "transmeta"):
        assert name in copied
        assert (REPOSITORY / name).exists()


def test_the_slurm_script_starts_ray_on_all_nodes_and_the_command_on_the_first(tmp_path):
    stubs = {
        "scontrol": 'printf "node7\\nnode8\\n"',
        "srun": 'while [[ "$1" == --* ]]; do echo "srun $1"; shift; done; exec "$@"',
        "ray": 'printf "<%s>" "$@"; echo; stat -c "%s bytes, mode %a" "$RAY_AUTH_TOKEN_PATH"; exit 75',
    }
    for name, body in stubs.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    slurm = {"SLURM_JOB_ID": "12", "SLURM_JOB_NODELIST": "node[7-8]", "SLURM_NNODES": "2"}

    done = subprocess.run(
        [CLUSTER / "slurm.sbatch", "adapt", "--data", "my photos"],
        env={"PATH": f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(tmp_path), **slurm},
        capture_output=True,
        text=True,
        check=False,
    )

    words = ["symmetric-run", "--address", "node7:6379", "--min-nodes", "2", "--"]
    words += ["env", "RAY_ADDRESS=node7:6379", "transmeta", "adapt", "--data", "my photos"]
    started, token = done.stdout.splitlines()[-2:]
    assert started == "".join(f"<{word}>" for word in words)
    assert token == "64 bytes, mode 600"
    assert done.returncode == 75, "the exit code of the command is the job's"
    assert not list((tmp_path / ".ray").iterdir()), "the token goes with the job"


def test_the_slurm_script_without_a_command_says_how_it_is_used():
    done = subprocess.run([CLUSTER / "slurm.sbatch"], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "usage: sbatch" in done.stderr
