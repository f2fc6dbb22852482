"""The window in memory: after any appends and closes its bytes are those that the paged cache stands for."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden.kv import window
from golden.kv.cache import PagedCache
from golden.kv.formats import Format
from golden.kv.pages import SIDES, PageLayout
from golden.kv.schemes import WINDOW

pytestmark = pytest.mark.quick

FORMATS = (
    *(Format("native", bits, axis, 32) for bits in (1, 2, 3, 4, 8) for axis in ("token", "channel")),
    Format("native_symmetric", 4, "channel", 32),
    Format("sign", 1, "channel", 32),
    Format("ternary_scaled", 2, "token", 32),
)


@given(
    st.sampled_from(SIDES),
    st.sampled_from((32, 64)),
    st.sampled_from((32, 64, 96, 128)),
    st.sampled_from(((4, 4), (8, 16), (16, 8))),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=60)
def test_tokens_in_any_order_make_the_page(
    side: str, tokens: int, channels: int, array: tuple[int, int], seed: int
) -> None:
    """P appends write every byte of both pages once: those of the page quantised as a whole."""
    rng = np.random.default_rng(seed)
    layout = PageLayout(WINDOW, side, tokens, channels, *array)
    x = (rng.standard_normal((tokens, channels)) * 2.0 ** rng.integers(-20, 10)).astype(np.float16)
    pages = rng.integers(0, 256, (2, layout.bytes), np.uint8)
    copies = rng.integers(0, 256, (2, window.copy_bytes(layout)), np.uint8)
    top = 1
    for place in rng.permutation(tokens):
        top = window.append(pages[0], copies[0], layout, place, x[place], top)
    quantized = WINDOW.quantize(x)
    np.testing.assert_array_equal(pages[0], layout.pack(quantized))
    np.testing.assert_array_equal(copies[0].view("<f2").reshape(x.shape), x)
    numbers = np.stack([quantized.scale, quantized.zero]).astype(np.float64)
    exponent = np.floor(np.log2(np.maximum(np.abs(numbers).max(), 2.0**-14)))
    assert top == exponent + 15

    # One token alone changes its own bytes only: the rest stays what it was.
    place = int(rng.integers(tokens))
    before = pages[1].copy(), copies[1].copy()
    window.append(pages[1], copies[1], layout, place, x[place])
    whole = layout.unpack(pages[1])
    np.testing.assert_array_equal(whole.codes[place], quantized.codes[place])
    assert (pages[1] != before[0]).sum() <= channels + 4 * (channels // 32)
    changed = np.flatnonzero((copies[1] != before[1]).reshape(tokens, -1).any(1))
    assert set(changed) <= {place}


@given(st.sampled_from(FORMATS), st.sampled_from(FORMATS), st.integers(0, 31), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_same_as_the_paged_cache(key: Format, value: Format, residual: int, seed: int) -> None:
    """Appending and closing, token by token and head by head, leaves the cache's pages and ``top``."""
    rng = np.random.default_rng(seed)
    heads, tokens = 2, 75
    x = (rng.standard_normal((2, heads, tokens, 32)) * 2.0 ** rng.integers(-14, 9)).astype(np.float16)
    cache = PagedCache(key, value, heads, 32, 32, residual, range(16), 4, 4, WINDOW)
    for token in range(tokens):
        cache.append(*x[:, :, token : token + 1])
    for number, side in enumerate(SIDES):
        closed = PageLayout((key, value)[number], side, 32, 32, 4, 4)
        layout = dataclasses.replace(closed, format=WINDOW)
        for head in range(heads):
            pages = np.zeros((2, layout.bytes), np.uint8)  # a ring of two
            copies = np.zeros((2, window.copy_bytes(layout)), np.uint8)
            top, written = 1, []
            for token in range(tokens):
                ring, place = divmod(token, 32)
                top = window.append(
                    pages[ring % 2], copies[ring % 2], layout, place, x[number, head, token], top
                )
                if token >= 31 + residual and (token + 1 - residual) % 32 == 0:
                    page, top = window.close(copies[len(written) % 2], closed, top)
                    written.append(closed.unpack(page))
            assert top == cache.top[number, head]
            known = cache.pages(side)
            assert known.codes.shape[1] == len(written)
            for block, page in enumerate(written):
                for mine, theirs in zip(page, known, strict=True):
                    np.testing.assert_array_equal(mine, theirs[head, block])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layout": PageLayout(Format("native", 4), "key")}, "must have 8 bits and axis 'token'$"),
        ({"layout": PageLayout(Format("native", 8, "channel"), "key")}, "must have 8 bits and axis 'token'$"),
        ({"place": 32}, r"^place 32 must be 0\.\.31$"),
        ({"place": -1}, r"^place -1 must be 0\.\.31$"),
        ({"token": np.ones(64)}, r"^token of shape \(64,\) must be \[128\]$"),
        ({"token": np.full(128, np.inf)}, "^elements must be finite in float16"),
    ],
)
def test_refused(change: dict, message: str) -> None:
    layout = PageLayout(WINDOW, "key")
    page, copy = np.zeros(layout.bytes, np.uint8), np.zeros(window.copy_bytes(layout), np.uint8)
    arguments = {"layout": layout, "place": 0, "token": np.ones(128)} | change
    with pytest.raises(ValueError, match=message):
        window.append(page, copy, **arguments)
    assert not page.any()
    assert not copy.any()


def test_a_copy_of_another_length() -> None:
    with pytest.raises(ValueError, match=r"^copy of shape \(8192,\) must be \[4096\]$"):
        window.close(np.zeros(8192, np.uint8), PageLayout(WINDOW, "key", channels=64))
