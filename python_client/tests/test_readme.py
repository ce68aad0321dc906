"""The examples of the README run as they stand."""

import re
from pathlib import Path

import pytest

from throttle_client import Client
from throttle_client.testing import StartServer

README = Path(__file__).parents[1] / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
SEMAPHORES: dict[str, int | tuple[int, int]] = {"A": 42, "deploy": 1, "database": (10, 1)}


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_example_runs(
    throttle_server: StartServer, capsys: pytest.CaptureFixture[str], example: str
) -> None:
    """An example runs to its end, and gives back what it took."""
    server = throttle_server(SEMAPHORES)

    exec(example.replace("http://localhost:8000", server.url), {})

    client = Client(server.url)
    assert [42, 1, 10] == [client.remainder(name) for name in SEMAPHORES]
    assert "better luck tomorrow" not in capsys.readouterr().out


def test_there_are_examples() -> None:
    """The examples are found."""
    assert 10 == len(EXAMPLES)
