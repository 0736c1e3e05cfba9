import pytest

from transmeta.errors import ConfigError
from transmeta.stores.sqlite_file import check_file_system


def test_a_network_file_system_is_refused_with_advice(tmp_path):
    mounts = tmp_path / "mounts"
    home = str(tmp_path / "my home").replace(" ", "\\040")
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\nserver:/home {home} nfs4 rw 0 0\n")
    (tmp_path / "my home").mkdir()

    with pytest.raises(ConfigError, match=r"network file system \(nfs4\).*PostgreSQL"):
        check_file_system(tmp_path / "my home" / "runs" / "experience.db", mounts=mounts)
    check_file_system(tmp_path / "experience.db", mounts=mounts)


def test_the_mount_on_top_decides(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"server:/home {tmp_path} nfs rw 0 0\ntmpfs {tmp_path} tmpfs rw 0 0\n")

    check_file_system(tmp_path / "experience.db", mounts=mounts)


def test_where_mounts_cannot_be_told_the_file_is_accepted(tmp_path):
    check_file_system(tmp_path / "experience.db", mounts=tmp_path / "missing")
