"""`docs/hostile.md` names every case of a hostile client that is tried."""

from conftest import ROOT
from test_floods import FLOODS, TOKENS
from test_hostile import CLOSES, REFUSALS, REFUSALS_PB, ROOMS, UPGRADES

LIST = ROOT / "docs" / "hostile.md"
CASES_MIN = 60

HEAD = """# What a hostile client tries

Each of these is done to a real Shield by a stock client or by hand (`tests/clients/test_hostile.py`, `tests/clients/test_floods.py`), while two clients who keep the rules exchange
messages: they lose none and wait less than a second for each. Afterwards no socket is left, and the process has not grown by 8 MiB. A test keeps this list as it is.
"""


def listed() -> tuple[str, int]:
    sections = {
        "Framing and messages": [f"{case}: closed with {code}" for case, (_, code) in CLOSES.items()],
        "Commands in JSON": [f"{case}: `{name}`" for case, (_, name) in REFUSALS.items()],
        "Commands in protobuf": [f"{case}: `{name}`" for case, (_, name) in REFUSALS_PB.items()],
        "Names of rooms": [f"{room[:24]!a}{'…' if len(room) > 24 else ''}: `invalid_room`" for room in ROOMS],
        "Upgrades": [f"{case}: HTTP {status}" for case, (status, _) in UPGRADES.items()],
        "Tokens": [f"{case}: closed with 4501" for case in TOKENS],
        "Floods, and what breaks off": [str(flood.__doc__) for flood in FLOODS],
    }
    text = HEAD
    for title, cases in sections.items():
        text += f"\n## {title}\n\n" + "".join(f"- {case}\n" for case in cases)
    return text, sum(map(len, sections.values()))


def test_the_list_is_what_is_tried() -> None:
    text, count = listed()
    assert count >= CASES_MIN
    assert LIST.read_text() == text, f"docs/hostile.md should be:\n{text}"
