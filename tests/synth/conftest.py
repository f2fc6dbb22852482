"""Cell libraries of these tests, and what must be installed for some of them."""

import os
from pathlib import Path

import pytest

from golden import optional

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("KVLOOM_SHARED", REPOSITORY.parent / "shared"))
TINY = Path(__file__).with_name("tiny.lib")
NANGATE = SHARED / "pdk" / "nangate45" / "nangate45_typ.lib.gz"
LIBRARIES = [path for path in (TINY, NANGATE) if path.exists()]


@pytest.fixture(scope="session")
def tiny() -> str:
    """A made-up library with timing, power, a full adder and a clock gate."""
    return str(TINY)


@pytest.fixture(
    scope="session", params=map(str, LIBRARIES), ids=[path.name.split(".")[0] for path in LIBRARIES]
)
def library(request: pytest.FixtureRequest) -> str:
    """The made-up library, and Nangate45 where it lies in KVLOOM_SHARED or beside the repository."""
    return request.param


@pytest.fixture(scope="session")
def opensta() -> None:
    """Skip what needs static timing where that is impossible."""
    _skip_without(optional.OPENSTA)


@pytest.fixture(scope="session")
def icarus() -> None:
    """Skip what simulates gates where that is impossible."""
    _skip_without(optional.ICARUS)


def _skip_without(part: optional.Part) -> None:
    for phrase in optional.lacking(("this test", part, True)):
        pytest.skip(phrase)
