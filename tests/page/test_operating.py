"""The operator's hand: release, resize, pause, reload; and what the server says to it."""

from collections.abc import Callable

import pytest
from conftest import Holder, Throttle
from playwright.sync_api import Page, expect

Holds = Callable[..., Holder]


def open_admin(page: Page, url: str, semaphore: str) -> None:
    """Open a semaphore, and what can be done to it."""
    page.goto(f"{url}/#/semaphore/{semaphore}")
    page.get_by_text("Administration", exact=True).click()


@pytest.mark.parametrize("way", ["Cancel", "Escape"])
def test_release_is_not_done_unless_confirmed(
    way: str, throttle: Throttle, page: Page, holds: Holds
) -> None:
    """Whoever cancels the question releases nobody."""
    throttle.start("semaphores = { deploy = 1 }")
    holds("deploy", "etl@node7").wait()
    page.goto(f"{throttle.url}/#/semaphore/deploy")
    deleted: list[str] = []
    page.on("request", lambda request: deleted.append(request.method))

    page.get_by_role("button", name="Release etl@node7").click()
    expect(page.locator("#confirm")).to_contain_text("It holds 1 of deploy.")
    if way == "Cancel":
        page.get_by_role("button", name="Cancel").click()
    else:
        page.keyboard.press("Escape")

    expect(page.locator("#confirm")).to_be_hidden()
    expect(page.locator("#drawer")).to_be_visible()
    expect(page.locator("#holders")).to_contain_text("etl@node7")
    assert "DELETE" not in deleted


def test_released_peer_goes_and_the_next_one_holds(
    throttle: Throttle, page: Page, holds: Holds
) -> None:
    """A confirmed release hands the permit on."""
    throttle.start("semaphores = { deploy = 1 }")
    holds("deploy", "etl@node7").wait()
    second = holds("deploy", "backup@node8")
    page.goto(f"{throttle.url}/#/semaphore/deploy")

    page.get_by_role("button", name="Release etl@node7").click()
    page.get_by_role("button", name="Release for good").click()

    second.wait()
    expect(page.locator("#drawer .message")).to_have_text("etl@node7 is released.")
    expect(page.locator("#holders li")).to_have_count(1)
    expect(page.locator("#holders")).to_contain_text("backup@node8")


def test_semaphore_is_resized_paused_and_set_back(
    throttle: Throttle, page: Page, holds: Holds
) -> None:
    """What the operator sets is seen, and can be set back."""
    throttle.start("semaphores = { A = 3 }")
    holds("A", "etl@node7", count=3).wait()
    open_admin(page, throttle.url, "A")
    figures, badges = page.locator("#detail > .figures"), page.locator("#detail > .badges")

    page.get_by_label("Max").fill("2")
    page.get_by_role("button", name="Resize").click()
    expect(figures).to_have_text("3 of 2 acquired over by 1")
    expect(badges).to_have_text("resized")
    expect(page.locator("#detail")).to_contain_text("the configuration says 3")

    page.get_by_role("button", name="Pause").click()
    expect(badges).to_have_text("pausedresized")
    page.get_by_role("button", name="Resume").click()
    expect(badges).to_have_text("resized")

    page.get_by_role("button", name="Back to the configuration").click()
    expect(figures).to_have_text("3 of 3 acquired")
    expect(badges).to_be_empty()
    expect(page.get_by_role("button", name="Back to the configuration")).to_be_disabled()


def test_paused_semaphore_grants_nothing_until_it_is_resumed(
    throttle: Throttle, page: Page, holds: Holds
) -> None:
    """Pause and resume reach the server."""
    throttle.start("semaphores = { A = 3 }")
    open_admin(page, throttle.url, "A")

    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    waiting = holds("A", "etl@node7")
    expect(page.locator("#queue")).to_contain_text("etl@node7")
    assert not waiting.acquired.is_set()

    page.get_by_role("button", name="Resume").click()
    waiting.wait()
    expect(page.locator("#holders")).to_contain_text("etl@node7")


def test_token_is_asked_for_and_not_stored(
    throttle: Throttle, page: Page, accepted: list[str]
) -> None:
    """The token is asked for until it is right, and is never stored."""
    accepted += ["401"]
    throttle.start('semaphores = { A = 3 }\nadmin.token = "open-sesame"')
    open_admin(page, throttle.url, "A")
    token = page.locator("#token")

    page.get_by_role("button", name="Pause").click()
    page.get_by_label("Token", exact=True).fill("guessed")
    page.keyboard.press("Enter")
    expect(token).to_contain_text("does not accept that one")
    page.get_by_label("Token", exact=True).fill("open-sesame")
    page.keyboard.press("Enter")
    expect(page.locator("#detail > .badges")).to_have_text("paused")

    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#detail > .badges")).to_be_empty()
    expect(token).to_be_hidden()
    stored = page.evaluate("JSON.stringify([{ ...localStorage }, { ...sessionStorage }])")
    assert "sesame" not in stored


def test_cancelled_token_changes_nothing(
    throttle: Throttle, page: Page, accepted: list[str]
) -> None:
    """Whoever gives no token has changed nothing."""
    accepted += ["401"]
    throttle.start('semaphores = { A = 3 }\nadmin.token = "open-sesame"')
    open_admin(page, throttle.url, "A")

    page.get_by_role("button", name="Pause").click()
    page.locator("#token").get_by_role("button", name="Cancel").click()

    expect(page.locator("#token")).to_be_hidden()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()


def test_refusal_is_shown_in_the_words_of_the_server(
    throttle: Throttle, page: Page, accepted: list[str]
) -> None:
    """A refusal reads as the server wrote it."""
    accepted += ["403"]
    throttle.start("semaphores = { A = 3 }")
    # As if it came through a reverse proxy.
    page.set_extra_http_headers({"X-Forwarded-For": "203.0.113.9"})
    open_admin(page, throttle.url, "A")

    with page.expect_response(lambda response: response.status == 403) as refused:
        page.get_by_role("button", name="Pause").click()

    expect(page.locator("#drawer .message")).to_have_text(refused.value.text())


def test_reload_says_what_has_changed(throttle: Throttle, page: Page, accepted: list[str]) -> None:
    """A reload says what came of it, or what is wrong with the file."""
    accepted += ["409"]
    throttle.start("semaphores = { A = 3, B = 1 }")
    page.goto(throttle.url)
    message = page.locator("#message")

    throttle.configuration.write_text("semaphores = { A = 4, C = 1 }")
    page.get_by_role("button", name="Reload the configuration").click()
    page.locator("#confirm").get_by_role("button", name="Reload").click()
    for said in ["added: C", "changed: A", "removed: B"]:
        expect(message).to_contain_text(said)
    expect(page.locator("#list")).to_contain_text("0 of 4")

    throttle.configuration.write_text("semaphores = { A = ")
    page.get_by_role("button", name="Reload the configuration").click()
    page.locator("#confirm").get_by_role("button", name="Reload").click()
    expect(message).to_contain_text("throttle.toml")
    expect(message).to_have_class("message bad")
