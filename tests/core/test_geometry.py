"""A core's sizes in golden are those of the circuit's presets; formats of pages survive a record."""

from dataclasses import replace

import pytest

from golden.core import geometry
from golden.core.kv_shape import bits_of, format_of
from golden.kv.formats import Format
from hw.config import preset

pytestmark = pytest.mark.quick


@pytest.mark.parametrize("name", geometry.PRESETS)
def test_presets(name: str) -> None:
    own, config = geometry.get(name), preset(name)
    for size in "rows", "lanes", "memory_bits", "numerics":
        assert getattr(own, size) == getattr(config, size)
    for size in "page_tokens", "channels", "queries":
        assert getattr(own, size) == getattr(config.kv, size)
    assert own.scratch == config.core.scratch


def test_no_such_preset() -> None:
    with pytest.raises(ValueError, match="'paper' must be one of tiny, edge"):
        geometry.get("paper")


@pytest.mark.parametrize("axis", ["token", "channel"])
@pytest.mark.parametrize(
    ("rule", "bits"),
    [("native", 2), ("native", 8), ("native_symmetric", 4), ("sign", 1), ("ternary_scaled", 2)],
)
def test_formats(rule: str, bits: int, axis: str) -> None:
    form = Format(rule, bits, axis, 32, gamma=179 / 256)
    found = format_of(bits_of(form, 64, 32))
    assert found is not None
    assert replace(found, gamma=form.gamma) == form
    assert found.gamma == form.gamma or rule != "ternary_scaled"
    whole = replace(form, group=None)
    assert bits_of(whole, 32, 32) == bits_of(form, 32, 32)


@pytest.mark.parametrize(("rule", "bits"), [("ternary", 2), ("kivi", 4), ("bitmod4", 4)])
def test_formats_that_circuits_do_not_read(rule: str, bits: int) -> None:
    with pytest.raises(ValueError, match=rule):
        bits_of(Format(rule, bits, "channel", 32), 64, 32)
