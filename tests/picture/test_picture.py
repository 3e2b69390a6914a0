"""The page of a failed run, as somebody sees it who opens it in a window of 1280x800 and touches nothing."""

import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from browser import HEIGHT, WIDTH, Tab, shown

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = Path(__file__).with_name("account.jsonl")
MADE_WITHIN = 60.0

# The place of whatever the first violation concerns, in pixels of the window. What a parent hides is not seen: each is cut to the diagram.
BOXES = """(() => {
  const clip = document.getElementById("diagram").getBoundingClientRect();
  const box = (node) => {
    const b = node.getBoundingClientRect();
    const seen = [Math.max(b.left, clip.left), Math.max(b.top, clip.top), Math.min(b.right, clip.right), Math.min(b.bottom, clip.bottom)];
    return { name: node.dataset.lane || node.dataset.fault || node.dataset.violation || node.textContent, box: [b.left, b.top, b.right, b.bottom], seen };
  };
  const all = (selector) => [...document.querySelectorAll(selector)].map(box);
  return {
    marks: all(".violation:not(.other) circle"), flag: all(".violation:not(.other) rect"),
    causes: all(".band.cause rect"), labels: all(".band.cause text"), lanes: all(".lane text"),
    rows: all("#diagram .lane, #diagram .fold"), listed: document.querySelectorAll("#violations button").length,
    chosen: document.querySelector("#violations button[aria-current=true]").textContent,
    header: document.querySelector("header").textContent,
    scrolls: [document.documentElement.scrollHeight, document.documentElement.scrollWidth],
    named: document.querySelectorAll(".message.named").length,
  };
})()"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page that the simulator makes of the committed account."""
    places = [ROOT / "target" / kind / "sim" for kind in ("debug", "release")]
    program = next((place for place in places if place.is_file()), None)
    assert program, f"no program at {' or '.join(map(str, places))}: run `cargo build -p sim`"
    out = tmp_path_factory.mktemp("page") / "picture.html"
    made = subprocess.run(
        [program, "picture", ACCOUNT, out], capture_output=True, text=True, timeout=MADE_WITHIN
    )
    assert made.returncode == 0, made.stderr
    return out


@pytest.fixture
async def tab(page: Path, tmp_path: Path) -> AsyncIterator[Tab]:
    profile = tmp_path / "profile"
    profile.mkdir()
    async with shown(page, profile) as tab:
        yield tab
        assert tab.errors == []


def within(box: list[float], window: tuple[float, float, float, float]) -> bool:
    left, top, right, bottom = window
    return box[0] >= left and box[1] >= top and box[2] <= right and box[3] <= bottom


def names(account: Path) -> set[str]:
    """The users of the run."""
    header = json.loads(account.read_text().splitlines()[0])
    return {actor["user"] for actor in header["actors"]}


async def test_the_first_violation_and_its_cause_are_in_the_window(tab: Tab, tmp_path: Path) -> None:
    await tab.screenshot(tmp_path / "picture.png")
    seen: dict[str, Any] = await tab.evaluate(BOXES)
    window = (0, 0, WIDTH, HEIGHT)
    assert seen["scrolls"] == [HEIGHT, WIDTH], "nothing is outside the window"
    for what in ("marks", "flag", "causes", "labels", "lanes"):
        assert seen[what], f"there are no {what}"
        for one in seen[what]:
            assert within(one["box"], window), f"{what}: {one}"
    for what in ("marks", "causes", "labels"):
        for one in seen[what]:
            assert one["seen"] == one["box"], f"{what} is cut off: {one}"
    # A cause begins before what it causes, and both have a size that can be seen.
    left = min(cause["box"][0] for cause in seen["causes"])
    assert left < max(mark["box"][0] for mark in seen["marks"])
    assert all(one["box"][2] - one["box"][0] >= 3 for one in seen["causes"] + seen["marks"])
    assert any(user in lane["name"] for lane in seen["lanes"] for user in names(ACCOUNT))


async def test_a_stranger_is_told_what_it_is(tab: Tab) -> None:
    header = json.loads(ACCOUNT.read_text().splitlines()[0])
    seen = await tab.evaluate(BOXES)
    for said in ("FAILED", header["file"], f"seed {header['seed']}", header["replay"]):
        assert said in seen["header"]
    assert "Fault before it" in seen["chosen"] and seen["listed"] >= 1


async def test_every_button_and_filter_works(tab: Tab) -> None:
    """All lanes are more lanes, a filter by actor is fewer, a click on a violation comes back to it."""

    async def rows() -> list[str]:
        return [row["name"] for row in (await tab.evaluate(BOXES))["rows"]]

    first = await rows()
    await tab.evaluate("document.getElementById('lanes').click()")
    everybody = await rows()
    assert len([name for name in everybody if name.startswith("actor")]) > len(
        [name for name in first if name.startswith("actor")]
    )
    await tab.evaluate("byId('actor').value = 'actor 1'; byId('actor').dispatchEvent(new Event('input'))")
    assert "actor 1" in await rows() and len(await rows()) < len(everybody)
    await tab.evaluate("byId('actor').value = ''; byId('actor').dispatchEvent(new Event('input'))")
    for button in ("in", "out", "all"):
        await tab.evaluate(f"document.getElementById('{button}').click()")
    assert await tab.evaluate("state.to - state.from === data.end_ms")
    await tab.evaluate("document.querySelector('#violations button').click()")
    assert await rows() == first
    await tab.evaluate("byId('kinds').querySelectorAll('input').forEach((box) => box.click())")
    assert await tab.evaluate("document.querySelectorAll('#view .message').length") == 0
