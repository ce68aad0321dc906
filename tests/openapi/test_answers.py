"""Each operation is played, in each way in which it is answered; the document knows them all."""

import pytest

from .described import Described
from .life import Events, lived
from .server import PROBLEM, Exchange

# A server that shuts down would have to be caught at it.
NOT_PLAYED = {("GET", "/health/ready", 503)}

EVENTS = {"missed": None, "resized": "ResizedEvent", "reloaded": "ReloadedEvent"}


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Exchange], Events]:
    """Play it once."""
    return lived(tmp_path_factory.mktemp("life"))


@pytest.fixture(scope="module")
def exchanges(life: tuple[list[Exchange], Events]) -> list[Exchange]:
    """What was asked and answered."""
    return life[0]


@pytest.fixture(scope="module")
def described(exchanges: list[Exchange]) -> Described:
    """The document, as one of the servers has answered it."""
    return Described(next(it.value for it in exchanges if it.pattern == "/openapi.json"))


def test_requests_that_are_answered_well_are_as_the_document_wants_them(
    described: Described, exchanges: list[Exchange]
) -> None:
    """Whoever keeps to the document is understood, and nothing is needed beyond it."""
    for exchange in exchanges:
        if exchange.status < 400:
            described.check_request(exchange)


def test_answers_are_as_the_document_says(described: Described, exchanges: list[Exchange]) -> None:
    """Status, media type, headers, body and code are described; no field is left out."""
    for exchange in exchanges:
        described.check_answer(exchange)


def test_all_answers_that_the_document_has_can_be_had(
    described: Described, exchanges: list[Exchange]
) -> None:
    """The document promises no answer that never comes."""
    had = {(it.method, it.pattern, it.status) for it in exchanges}

    for pattern, item in described.document["paths"].items():
        for method, operation in item.items():
            expected = {(method.upper(), pattern, int(status)) for status in operation["responses"]}
            assert expected - had - NOT_PLAYED == set()


def test_all_codes_that_the_document_has_can_be_had(
    described: Described, exchanges: list[Exchange]
) -> None:
    """The document names each reason of a refusal, and no other."""
    had = {it.value["code"] for it in exchanges if it.media_type == PROBLEM}

    assert had == set(described.document["components"]["schemas"]["Code"]["enum"])


def test_events_are_as_the_document_says(
    described: Described, life: tuple[list[Exchange], Events]
) -> None:
    """All kinds of events happen, and their data is described."""
    _, events = life

    for kind, data in events:
        component = EVENTS.get(kind, "LockEvent")
        if component is None:
            assert data == {}
        else:
            described.check_component(component, data)
        said = described.document["paths"]["/events"]["get"]["description"]
        assert f"`{kind}`" in said
    assert len({kind for kind, _ in events}) == 9
