"""The Python example of the README runs as it stands, with the client that `pip` installs."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from .conftest import StartServer

README = Path(__file__).parents[2] / "README.md"
throttle_client: Any = importlib.import_module("throttle_client")


@pytest.mark.skipif(
    not hasattr(throttle_client, "set_local_peer"), reason="0.2.0 takes no URL where a peer goes"
)
def test_example_takes_a_lock_while_its_block_runs(
    start_server: StartServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """The example prints its line while it holds the lock, and gives the lock back."""
    server = start_server({"A": (42, 0)})
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (example,) = blocks
    probe = "remainder = Client('http://localhost:8000').remainder('A')"
    example = f"from throttle_client import Client\n{example}    {probe}\n"

    names: dict[str, Any] = {}
    exec(example.replace("http://localhost:8000", server.url), names)

    assert "no more than 42 of us are here at a time\n" == capsys.readouterr().out
    assert 41 == names["remainder"]
    assert 42 == throttle_client.Client(server.url).remainder("A")
