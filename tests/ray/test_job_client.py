import os
import subprocess
import sys

CODE = """
import ray
from transmeta.execution.ray import job_client
from ray._raylet import AuthenticationMode, get_authentication_mode
print(get_authentication_mode() == AuthenticationMode.TOKEN, job_client.os.environ[job_client.AUTH_MODE])
"""


def test_a_token_in_place_counts_also_where_ray_was_imported_first(tmp_path):
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("0" * 64)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}

    said = subprocess.run(
        [sys.executable, "-c", CODE],
        env=environment | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert said.stdout.split() == ["True", "token"]
