"""Caches that go on: prefill then decode, restore then decode; files that are none."""

import json

import numpy as np
import pytest
import safetensors.numpy

import golden.kv
from golden.kv.cache import PagedCache
from golden.kv.formats import Format
from golden.kv.schemes import Scheme

pytestmark = pytest.mark.quick

KEY, VALUE = Format("native", 2, "channel", 32), Format("native", 4, "token", 64)


@pytest.mark.parametrize("name", ["kivi2", "native4_paged", "ternary"])
@pytest.mark.parametrize("restored", [False, True])
def test_a_cache_goes_on(rng: np.random.Generator, name: str, restored: bool) -> None:
    """Prefill then decode, with or without a file between, is what all tokens at once are."""
    scheme = golden.kv.get(name)
    keys, values = rng.standard_normal((2, 3, 330, 64)).astype(np.float16)
    whole = scheme.compress(keys, values)
    cache = scheme.compress(keys[:, :150], values[:, :150])
    for first, last in ((150, 151), (151, 230), (230, 330)):
        if restored:
            cache = PagedCache.from_bytes(cache.to_bytes())
        cache.append(keys[:, first:last], values[:, first:last])
    assert cache.to_bytes() == whole.to_bytes()
    for one, other in zip(cache.decompress(), whole.decompress(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_numbers_of_restored_pages_are_not_taken_again(rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 64, 64))
    cache = PagedCache(KEY, VALUE, 2, 64, free=[7, 2, 2**31 - 1, 0])
    cache.append(x, x)
    limited = PagedCache.from_bytes(cache.to_bytes(), free=[0, 3, 7, 5])
    grown = PagedCache.from_bytes(cache.to_bytes())
    for other, numbers in (limited, [3, 5]), (grown, [1, 3]):
        other.append(x[:, :32], x[:, :32])
        assert other.table[0].T.ravel().tolist() == [7, 2, 2**31 - 1, 0, *numbers]
    with pytest.raises(ValueError, match=r"^2 pages needed, only 0 free$"):
        limited.append(x[:, :32], x[:, :32])
    for mine, theirs in zip(limited.decompress(), grown.decompress(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def altered(file: bytes, changes: dict) -> bytes:
    """A stored cache with other metadata, named by their path, or other arrays, by `array:` and a name."""
    length = int.from_bytes(file[:8], "little")
    about = json.loads(json.loads(file[8 : 8 + length])["__metadata__"]["kvloom"])
    arrays = safetensors.numpy.load(file)
    for name, value in changes.items():
        if name.startswith("array:"):
            arrays[name.removeprefix("array:")] = value
            continue
        *path, last = name.split(".")
        owner = about
        for part in path:
            owner = owner[part]
        owner[last] = value
    return safetensors.numpy.save(arrays, {"kvloom": json.dumps(about)})


@pytest.mark.parametrize(
    "changes",
    [
        {"formats.key.bits": True},
        {"formats.key.group": 5},
        {"formats.value.group": [32]},
        {"formats.key.gamma": 7},
        {"formats.key.gamma": "much"},
        {"formats.key.rule": ["native"]},
        {"formats.key.colour": 3},
        {"formats.key": 3},
        {"formats": []},
        {"window_format": 8},
        {"window_format": {"axis": "channel"}},
        {"residual": -1},
        {"residual": 1.5},
        {"residual": None},
        {"tokens": 64},
        {"channels": 128},
        {"channels": "64"},
        {"rows": 0},
        {"lanes": 5},
        {"array:table": np.zeros((2, 2, 1), np.int32)},
        {"array:table": np.array([[[0], [-1]], [[0], [1]]], np.int32)},
        {"array:table": np.zeros((2, 2), np.int32)},
        {"array:table": np.zeros(3, np.int32)},
        {"array:table": np.array([[[0], [1]], [[0], [1]]], np.int64)},
        {"array:top": np.zeros((2, 2), np.int64)},
        {"array:top": np.ones((2, 1), np.int64)},
        {"array:key_pages": np.zeros((2, 2, 576), np.uint8)},
        {"array:value_window": np.zeros((2, 7, 64), np.float16)},
        {"array:key_window": np.full((2, 8, 64), np.nan, np.float16)},
        {"array:key_window": np.zeros((2, 8, 64), np.float32)},
    ],
    ids=str,
)
def test_bad_metadata(changes: dict) -> None:
    scheme = Scheme(KEY, VALUE, "paged", 0)
    file = scheme.compress(*np.ones((2, 2, 40, 64))).to_bytes()
    assert altered(file, {}) == file
    with pytest.raises(ValueError, match=r"^not a stored KV cache: "):
        PagedCache.from_bytes(altered(file, changes))
