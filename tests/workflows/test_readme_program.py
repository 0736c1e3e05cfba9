import os
import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def test_the_program_in_the_readme_runs_and_says_what_it_found(tmp_path):
    (program,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    file = tmp_path / "program.py"
    file.write_text(program)

    done = subprocess.run(
        [sys.executable, str(file)],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    accuracy = re.search(r"accuracy on unseen digits: ([01]\.\d+)", done.stdout)
    assert accuracy is not None
    assert float(accuracy[1]) > 0.8
