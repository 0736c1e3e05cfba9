"""An address is looked at before Ray is, which would try for minutes. No cluster is needed here."""

import socket

import pytest

from transmeta.errors import InputError, UnavailableError
from transmeta.execution.ray.reach import check_reachable


@pytest.mark.parametrize("address", ["auto", "local"])
def test_what_ray_resolves_itself_is_left_to_it(address: str) -> None:
    check_reachable(address)


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "[127.0.0.1]:{}"])
def test_an_address_where_something_listens_is_reachable(form: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        check_reachable(form.format(server.getsockname()[1]))


def test_an_address_where_nothing_listens_is_out_of_reach() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    with pytest.raises(UnavailableError, match=r"no Ray cluster at .*; start one with `ray start --head`"):
        check_reachable(f"127.0.0.1:{port}")


@pytest.mark.parametrize("address", ["nonsense", "host:", ":6379", "host:99999", "host:6379x", "http://host:8265", ""])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InputError, match="give auto or HOST:PORT"):
        check_reachable(address)
