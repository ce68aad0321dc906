"""What happens on the server is seen on the page, at once, and only as often as it may ask."""

from collections.abc import Callable

from conftest import Holder, Throttle
from playwright.sync_api import Page, expect

Holds = Callable[..., Holder]

RECOVERING = """
recovery_window = "auto"
[limits]
max_expires_in = "1h"
[semaphores]
A = 1
"""


def row(page: Page, name: str) -> Page:
    """The row or card of a semaphore."""
    return page.locator("#list > li").filter(has=page.get_by_role("link", name=name, exact=True))


def hide(page: Page, is_hidden: bool) -> None:
    """Let the page believe that its tab is hidden, or seen again."""
    page.evaluate(
        """(hidden) => {
            Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        is_hidden,
    )


def test_lock_is_seen_from_waiting_to_its_end(throttle: Throttle, page: Page, holds: Holds) -> None:
    """A lock of the real client appears by name, moves from waiting to holding, and goes."""
    throttle.start("semaphores = { deploy = 1 }")
    page.goto(throttle.url)
    deploy = row(page, "deploy")
    expect(deploy).to_contain_text("0 of 1")

    first = holds("deploy", "etl@node7").wait()
    expect(deploy).to_contain_text("1 of 1")
    second = holds("deploy", "backup@node8")
    expect(deploy).to_contain_text("1 waiting for 1 permit")

    page.get_by_role("link", name="deploy").click()
    holders, queue = page.locator("#holders"), page.locator("#queue")
    expect(holders).to_contain_text("etl@node7")
    expect(holders).to_contain_text("1 permit")
    expect(queue).to_contain_text("1. backup@node8")

    first.give_back()
    expect(holders).to_contain_text("backup@node8")
    expect(holders.locator("li")).to_have_count(1)
    expect(queue.locator("li")).to_have_count(0)
    expect(page.locator("#events")).to_contain_text("etl@node7: 1 permit")

    second.wait().give_back()
    expect(holders.locator("li")).to_have_count(0)
    expect(deploy).to_contain_text("0 of 1")


def test_times_tick_between_two_answers(throttle: Throttle, page: Page, holds: Holds) -> None:
    """Durations go on by themselves, without asking the server each second."""
    throttle.start("semaphores = { deploy = 1 }")
    holds("deploy", "etl@node7").wait()
    page.goto(f"{throttle.url}/#/semaphore/deploy")
    held = page.locator("#holders [data-of=for]")
    # By then, nearly all is asked that is asked at the start.
    expect(held).to_have_text("2 s")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    expect(held).to_have_text("5 s")
    assert len([url for url in asked if url.endswith("/semaphores")]) <= 1


def test_answers_of_a_gone_server_are_old(
    throttle: Throttle, page: Page, holds: Holds, accepted: list[str]
) -> None:
    """A server that is gone is said to be gone, and so is its return."""
    accepted += ["net::ERR_"]
    throttle.start("semaphores = { deploy = 1 }")
    page.goto(throttle.url)
    status = page.locator(".top .link")
    expect(status).to_have_text("Live")

    throttle.kill()
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer")
    expect(status).to_have_text("No answer")

    throttle.start()
    page.get_by_role("button", name="Try now").click()
    expect(status).to_have_text("Live")
    expect(page.locator("#lost")).to_be_hidden()
    holds("deploy", "etl@node7").wait()
    expect(row(page, "deploy")).to_contain_text("1 of 1")


def test_gone_server_is_asked_less_and_less(
    throttle: Throttle, page: Page, accepted: list[str]
) -> None:
    """A server that is gone is not flooded by those who watch it."""
    accepted += ["net::ERR_"]
    page.clock.install()
    throttle.start("semaphores = { deploy = 1 }")
    page.goto(throttle.url)
    expect(page.locator(".top .link")).to_have_text("Live")
    tries: list[str] = []
    page.on("request", lambda request: tries.append(request.url))

    throttle.kill()
    expect(page.locator("#lost")).to_be_visible()
    for _ in range(120):
        page.clock.run_for(1000)

    # 2, 4, 8, 16, 30, 30, 30 seconds, more or less.
    assert 4 <= len([url for url in tries if url.endswith("/semaphores")]) <= 10
    assert len([url for url in tries if url.endswith("/events")]) <= 1


def test_busy_server_is_asked_once_a_second(throttle: Throttle, page: Page, holds: Holds) -> None:
    """Many events make few requests."""
    page.clock.install()
    throttle.start("semaphores = { A = 100 }")
    page.goto(throttle.url)
    expect(page.locator(".top .link")).to_have_text("Live")
    page.clock.run_for(2000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    for number in range(20):
        holds("A", f"worker {number}").wait()
    page.clock.run_for(1000)

    expect(row(page, "A")).to_contain_text("20 of 100")
    assert len([url for url in asked if url.endswith("/semaphores")]) <= 2


def test_hidden_page_asks_nothing(throttle: Throttle, page: Page, holds: Holds) -> None:
    """A tab that nobody sees is silent, and fresh as soon as it is seen."""
    page.clock.install()
    throttle.start("semaphores = { A = 5 }")
    page.goto(throttle.url)
    expect(page.locator(".top .link")).to_have_text("Live")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    hide(page, True)
    holds("A", "etl@node7").wait()
    page.clock.run_for(60_000)
    assert asked == []

    hide(page, False)
    expect(row(page, "A")).to_contain_text("1 of 5")


def test_recovery_is_announced(throttle: Throttle, page: Page, accepted: list[str]) -> None:
    """A recovery window is said, with the time that is left of it."""
    accepted += ["503"]
    throttle.start(RECOVERING)

    page.goto(throttle.url)

    expect(page.locator("#recovery")).to_contain_text("no lock is granted for another 59 min")
    expect(page.locator("#recovery")).not_to_contain_text("ms")
