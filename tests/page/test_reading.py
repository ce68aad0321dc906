"""What is read on the page: nothing yet, hostile names, large numbers, three hundred semaphores."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable

from conftest import Holder, Throttle
from playwright.sync_api import Page, expect

Holds = Callable[..., Holder]

HOSTILE = [
    '<img src=x onerror="alert(1)">',
    "<script>alert(2)</script>",
    "javascript:alert(3)",
    "__proto__",
    "constructor",
    "a/b ?c=d#e %2F",
    "\"quotes' $(touch x) `y`",
    " ",
    "line\nbreak",
    "turned \u202e around",
    "long-" * 60,
]


def configured(semaphores: dict[str, int]) -> str:
    """A configuration with these semaphores."""
    keys = [json.dumps(name, ensure_ascii=False) for name in semaphores]
    lines = [f"{key} = {max}" for key, max in zip(keys, semaphores.values(), strict=True)]
    return "\n".join(["[semaphores]", *lines])


def restore(url: str, **body: object) -> None:
    """Bring a peer back, as a client does after a restart."""
    request = urllib.request.Request(
        f"{url}/restore", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=10).close()


def test_without_semaphores_it_says_what_to_configure(throttle: Throttle, page: Page) -> None:
    """What is shown to be configured works."""
    throttle.start("")
    page.goto(throttle.url)
    expect(page.get_by_role("heading", name="There is no semaphore yet")).to_be_visible()

    throttle.configuration.write_text(page.locator("#none pre").inner_text())
    page.locator("#none").get_by_role("button", name="Reload the configuration").click()
    page.locator("#confirm").get_by_role("button", name="Reload").click()

    expect(page.locator("#list > li")).to_have_count(2)
    expect(page.locator("#none")).to_be_hidden()


def test_first_python_command_works_as_shown(throttle: Throttle, page: Page) -> None:
    """The Python lines, run as they are, take a lock."""
    throttle.start(configured({'it is "A"': 42}))
    page.goto(throttle.url)
    expect(page.locator("#first")).to_be_visible()
    command = page.locator("#first [data-of=python]").inner_text()

    with subprocess.Popen(
        [sys.executable, "-c", command], stdin=subprocess.PIPE, text=True
    ) as program:
        expect(page.locator("#list")).to_contain_text("1 of 42")
        program.communicate("\n", timeout=10)

    assert program.returncode == 0
    expect(page.locator("#list")).to_contain_text("0 of 42")


def test_first_commands_of_curl_work_as_shown(throttle: Throttle, page: Page) -> None:
    """The commands for the shell, run as they are, take a lock."""
    throttle.start(configured({"it's $A!": 42}))
    page.goto(throttle.url)
    expect(page.locator("#first")).to_be_visible()
    commands = page.locator("#first [data-of=curl]").inner_text()

    with subprocess.Popen(
        ["bash", "-e"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as shell:
        assert shell.stdin is not None
        *take, give_back = commands.splitlines(keepends=True)
        shell.stdin.writelines(take)
        shell.stdin.flush()
        expect(page.locator("#list")).to_contain_text("1 of 42")
        shell.communicate(give_back, timeout=10)

    assert shell.returncode == 0
    expect(page.locator("#list")).to_contain_text("0 of 42")


def test_hostile_names_are_shown_and_do_not_run(
    throttle: Throttle, page: Page, holds: Holds
) -> None:
    """Names are text, whatever they look like."""
    throttle.start(configured(dict.fromkeys(HOSTILE, 2)))
    for name in HOSTILE:
        holds(name, "<b onclick=alert(4)>").wait()
    page.goto(throttle.url)
    links = page.locator("#list a")
    expect(links).to_have_count(len(HOSTILE))

    for link in links.all():
        name = link.inner_text()
        link.press("Enter")
        expect(page.locator("#opened")).to_have_text(name)
        expect(page.locator("#holders")).to_contain_text("<b onclick=alert(4)>")
        page.keyboard.press("Escape")
        expect(page.locator("#drawer")).to_be_hidden()

    assert page.locator("main img, main script, dialog img, dialog b[onclick]").count() == 0
    expect(page.locator("#list")).not_to_contain_text("\u202e")


def test_over_commit_is_said_and_ids_are_whole(throttle: Throttle, page: Page) -> None:
    """Over-commit is said in words; the peer is released that was meant."""
    throttle.start(configured({"A": 5}))
    # No number of JavaScript can hold the first id; rounded, it would be another peer's.
    for peer_id, count in [(2**64 - 1, 4), (2**53 + 1, 3), (2**53, 1)]:
        restore(throttle.url, peer_id=peer_id, expires_in="5m", acquired={"A": count})
    page.goto(f"{throttle.url}/#/semaphore/A")
    expect(page.locator("#detail > .figures")).to_have_text("8 of 5 acquired over by 3")
    expect(page.locator("#list > li")).to_contain_text("over by 3")

    page.get_by_role("button", name=f"Release peer {2**53 + 1}").click()
    page.get_by_role("button", name="Release for good").click()

    expect(page.locator("#holders li")).to_have_count(2)
    expect(page.locator("#holders")).to_contain_text(f"peer {2**64 - 1}")
    expect(page.locator("#holders [data-of=name]").filter(has_text=f"{2**53}")).to_have_count(1)


def test_plot_says_in_words_what_it_shows(throttle: Throttle, page: Page, holds: Holds) -> None:
    """Whoever cannot see the plot can hear it."""
    throttle.start(configured({"A": 5}))
    holds("A", "etl@node7", count=3).wait()

    page.goto(throttle.url)

    plot = page.locator("#list").get_by_role("img")
    expect(plot).to_have_attribute(
        "aria-label",
        "The last fifteen minutes: acquired at most 3, pending at most 0. "
        "Now 3 of 5, and 0 pending.",
    )


def test_three_hundred_semaphores_are_found_and_ordered(
    throttle: Throttle, page: Page, holds: Holds
) -> None:
    """Of many, those come first that need it."""
    throttle.start(configured({f"job/{number:03}": 1 for number in range(300)}))
    holds("job/250", "etl@node7").wait()
    holds("job/250", "backup@node8")
    holds("job/200", "etl@node7").wait()
    page.goto(throttle.url)
    names = page.locator("#list a")

    expect(names).to_have_count(300)
    expect(names.nth(0)).to_have_text("job/250")
    expect(names.nth(1)).to_have_text("job/200")
    expect(page.locator("#summary")).to_contain_text("Waiting1")

    page.get_by_label("Order").select_option("by name")
    expect(names.nth(0)).to_have_text("job/000")
    page.reload()
    expect(names.nth(0)).to_have_text("job/000")

    page.get_by_label("Filter").fill("JOB/25")
    expect(names).to_have_count(10)
    expect(page.locator("#shown")).to_have_text("10 of 300")


def test_address_keeps_what_is_open(throttle: Throttle, page: Page) -> None:
    """The address can be shared, loaded again, and gone back to."""
    throttle.start(configured({"a/b": 1, "c": 1}))
    page.goto(throttle.url)
    page.get_by_role("link", name="a/b").click()
    expect(page).to_have_url(f"{throttle.url}/#/semaphore/a%2Fb")

    page.reload()
    expect(page.locator("#opened")).to_have_text("a/b")
    page.get_by_role("button", name="Close").click()
    expect(page).to_have_url(f"{throttle.url}/")
    page.go_back()
    expect(page.locator("#opened")).to_have_text("a/b")
    page.go_forward()
    expect(page.locator("#drawer")).to_be_hidden()


def test_absent_semaphore_is_said_to_be_absent(
    throttle: Throttle, page: Page, accepted: list[str]
) -> None:
    """An address of a semaphore that has gone says so."""
    accepted += ["400"]
    throttle.start(configured({"A": 1}))

    page.goto(f"{throttle.url}/#/semaphore/B")

    expect(page.locator("#absent")).to_be_visible()
    expect(page.locator("#detail")).to_be_hidden()
