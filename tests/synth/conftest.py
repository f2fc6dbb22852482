"""Cell libraries of these tests, and what must be installed for some of them."""

import os
from pathlib import Path

import pytest

from golden import optional

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("KVLOOM_SHARED", REPOSITORY.parent / "shared"))
NANGATE = SHARED / "pdk" / "nangate45" / "nangate45_typ.lib.gz"


@pytest.fixture(scope="session")
def tiny() -> str:
    """A made-up library with timing, power, full adder and clock gate."""
    return str(Path(__file__).with_name("tiny.lib"))


@pytest.fixture(scope="session")
def nangate45() -> str:
    """A library that lies outside of the repository."""
    if not NANGATE.exists():
        pytest.skip("nangate45/nangate45_typ.lib.gz is in pdk of neither KVLOOM_SHARED nor ../shared")
    return str(NANGATE)


@pytest.fixture
def target(request: pytest.FixtureRequest) -> str:
    """The library of a name: ``generic``, ``tiny`` or ``nangate45``."""
    return request.param if request.param == "generic" else request.getfixturevalue(request.param)


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
