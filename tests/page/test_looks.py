"""How it looks and feels: themes, a phone, a keyboard, and nothing from elsewhere."""

from collections.abc import Callable

import pytest
from conftest import Holder, Throttle
from playwright.sync_api import Page, expect

Holds = Callable[..., Holder]

LONG = "an-unusually-long-name-without-any-blank-" * 4
SEMAPHORES = f'[semaphores]\nA = 42\ndeploy = 1\n"{LONG}" = 3\n'
MANY = SEMAPHORES + "".join(f"job-{number} = 5\n" for number in range(20))

# The texts that contrast too little with what is behind them (WCAG AA), as it is computed.
PALE = """() => {
  const channels = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = channels(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const pale = [];
  for (const node of document.querySelectorAll("body *")) {
    const text = [...node.childNodes].filter((child) => child.nodeType === 3)
      .map((child) => child.data.trim()).join("");
    if (text === "" || !node.checkVisibility() || node.disabled) continue;
    const style = getComputedStyle(node);
    const [a, b] = [light(channels(style.color)), light(ground(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) pale.push(`${text.slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return pale;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_themes_can_be_read(scheme: str, throttle: Throttle, page: Page, holds: Holds) -> None:
    """All texts contrast enough with what is behind them, in both themes."""
    throttle.start(SEMAPHORES)
    page.emulate_media(color_scheme=scheme)
    page.goto(throttle.url)
    expect(page.locator("#first")).to_be_visible()
    assert page.evaluate(PALE) == []

    holds("deploy", "etl@node7").wait()
    holds("deploy", "backup@node8")
    page.get_by_role("link", name="deploy").click()
    expect(page.locator("#queue")).to_contain_text("backup@node8")
    assert page.evaluate(PALE) == []
    page.get_by_role("button", name="Release etl@node7").click()
    expect(page.locator("#confirm")).to_be_visible()
    assert page.evaluate(PALE) == []

    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) > 380) == (scheme == "light")


@pytest.mark.parametrize("configuration", ["", SEMAPHORES, MANY], ids=["none", "few", "many"])
def test_phone_scrolls_in_one_direction_only(
    configuration: str, throttle: Throttle, page: Page, holds: Holds
) -> None:
    """Nothing is wider than a phone."""
    throttle.start(configuration)
    page.set_viewport_size({"width": 390, "height": 844})
    is_too_wide = "document.documentElement.scrollWidth > innerWidth"
    page.goto(throttle.url)
    expect(page.locator(".welcome:not([hidden])")).to_be_visible()
    assert not page.evaluate(is_too_wide)
    if not configuration:
        return

    holds(LONG, LONG[:128], count=3).wait()
    holds(LONG, LONG[:128])
    expect(page.locator("#list .waits")).to_have_count(1)
    assert not page.evaluate(is_too_wide)
    page.locator("#list .waits a").click()
    expect(page.locator("#queue li")).to_have_count(1)
    drawer = page.locator("#drawer")
    assert not drawer.evaluate("(node) => node.scrollWidth > node.clientWidth")


def test_keyboard_alone_opens_releases_and_closes(
    throttle: Throttle, page: Page, holds: Holds
) -> None:
    """All of it goes without a mouse, and the focus is seen."""
    throttle.start("semaphores = { deploy = 1 }")
    holds("deploy", "etl@node7").wait()
    page.goto(throttle.url)
    expect(page.locator("#list")).to_contain_text("1 of 1")
    link = page.get_by_role("link", name="deploy")

    def tab_to(target: str) -> None:
        for _ in range(30):
            if page.evaluate("(target) => document.activeElement.matches(target)", target):
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"no Tab leads to {target}")

    tab_to("#list a")
    assert link.evaluate("(node) => getComputedStyle(node, '::after').outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("#opened")).to_be_focused()
    tab_to(".release")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    tab_to(".danger")
    page.keyboard.press("Enter")
    expect(page.locator("#holders li")).to_have_count(0)

    page.keyboard.press("Escape")
    expect(page.locator("#drawer")).to_be_hidden()
    expect(link).to_be_focused()


def test_nothing_moves_for_those_who_want_no_motion(throttle: Throttle, page: Page) -> None:
    """No transition and no animation."""
    throttle.start(SEMAPHORES)
    page.emulate_media(reduced_motion="reduce")
    page.goto(throttle.url)
    expect(page.locator("#list li")).to_have_count(3)

    moving = page.evaluate(
        """() => [...document.querySelectorAll("*")].map((node) => getComputedStyle(node))
            .filter((style) => style.transitionDuration !== "0s" || style.animationName !== "none")
            .length"""
    )

    assert moving == 0


def test_nothing_is_loaded_from_elsewhere(throttle: Throttle, page: Page) -> None:
    """The policy is strict, and all requests go to the server itself."""
    throttle.start(SEMAPHORES)
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))

    response = page.goto(throttle.url)
    expect(page.locator("#list li")).to_have_count(3)

    assert response is not None
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert [url for url in urls if not url.startswith(f"{throttle.url}/")] == []
