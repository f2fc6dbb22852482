"""Random pages of values and weights, as of golden; their sizes are the configuration's."""

import random

import numpy as np

from golden.attention.page import Page
from golden.numbers import datatypes, floats
from hw.config import Config
from sim import context

__all__ = ["random_page", "random_weights"]

CONFIG = Config.model_validate(context.parameters()["config"])
P, D, QUERIES = CONFIG.kv.page_tokens, CONFIG.kv.channels, CONFIG.kv.queries


def random_page(axis: str, dtype: str, top: int, kind: str = "any") -> Page:
    """Values whose steps and offsets have fields of at most ``top``."""
    rng = np.random.default_rng(random.getrandbits(32))
    coded = datatypes.get(dtype)
    group = int(rng.choice([size for size in (16, 32, 64, 128) if size <= (D if axis == "token" else P)]))
    shape = (P, D // group) if axis == "token" else (P // group, D)
    centre = 1 << coded.bits - 1 if coded.asymmetric else 0
    high = (1 << coded.bits) - 1 - centre if coded.asymmetric else int(coded.largest)
    low = -centre if coded.asymmetric else -high
    integers = rng.integers(low, high + 1, (P, D))
    fields, mantissas = rng.integers(1, top + 1, (2, *shape)), rng.integers(1024, 2048, (2, *shape))
    signs = rng.choice([-1, 1], (2, *shape))
    if kind == "extreme":
        integers = np.full((P, D), low if random.random() < 0.5 else high)
        fields[:], mantissas[:], signs[:] = top, 2047, random.choice((-1, 1))
    if kind == "faint":
        fields[:], mantissas = 1, mantissas >> 7
    step, offset = (signs * mantissas * np.exp2(fields - float(floats.HALF_UNIT))).astype(np.float16)
    if not coded.asymmetric:
        offset = np.zeros_like(offset)
    return Page(axis, coded, integers.astype(np.int16), step, offset)


def random_weights(kind: str = "any") -> np.ndarray:
    """Weights of all queries, float64 [N, P] of tf32 numbers, 0 among them."""
    rng = np.random.default_rng(random.getrandbits(32))
    shape = (QUERIES, P)
    if kind == "extreme":
        return np.ones(shape)
    powers = rng.integers(-32, 0, shape) if random.random() < 0.5 else rng.integers(-6, 0, shape)
    found = (1024 + rng.integers(0, 1024, shape)) * np.exp2(powers - 10.0)
    found[rng.random(shape) < 0.1] = 0
    if kind == "faint":
        return np.minimum(found, 2.0**-30)
    return np.where(rng.random(shape) < 0.05, 1.0, found)
