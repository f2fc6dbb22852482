"""Pages of BitMoD's data types for the benches of ``hw.kv``, of circuits that have them."""

import random

import numpy as np
from numpy.typing import NDArray

from golden.kv import bitmod
from golden.kv.formats import Format
from golden.kv.pages import PageLayout
from golden.numbers import datatypes
from hw.config import Config
from hw.kv.payloads import SELECTOR_BITS, SHORTEST_GROUP
from sim.benches.kv.pages import fitting_groups

__all__ = [
    "TYPES",
    "are_attended",
    "attended_layout",
    "bitmod_layout",
    "values_of_every_choice",
]

TYPES = tuple(bitmod.TYPES)


def bitmod_layout(config: Config, name: str, place: tuple[str, str], short: bool = False) -> PageLayout:
    """A page of a type; ``place`` is its side and axis, ``short`` asks for few channels."""
    side, axis = place
    unit = max(SHORTEST_GROUP, config.lanes if side == "key" else config.rows)
    tokens = config.kv.page_tokens
    fitting = []
    for count in range(1, config.kv.channels // unit + 1):
        channels = unit * count
        for group in fitting_groups(config, axis, channels):
            if tokens * channels // group % (config.memory_bits // SELECTOR_BITS) == 0:
                fitting.append((channels, group))
    channels, group = fitting[0] if short else random.choice(fitting)
    form = Format(name, bitmod.TYPES[name], axis, group)
    return PageLayout(form, side, tokens, channels, config.rows, config.lanes)


def are_attended(config: Config, groups: int) -> bool:
    """Whether attention takes tokens of so many groups: it writes whole ones at once, or parts of one."""
    step = config.memory_bits // 32
    return groups % step == 0 or step % groups == 0


def attended_layout(config: Config, name: str, place: tuple[str, str]) -> PageLayout:
    """A page of a type that attention takes."""
    while True:
        layout = bitmod_layout(config, name, place)
        group = layout.format.group or layout.channels
        groups = layout.channels // group if layout.format.axis == "token" else 1
        if group <= config.group and are_attended(config, groups):
            return layout


def values_of_every_choice(layout: PageLayout, off: int) -> NDArray[np.float16]:
    """Elements [P, D] that are a type's values, or halfway between two, with each special value in turn.

    They are ``off`` by so many units of float16, which is what decides about a tie.
    """
    dtype = datatypes.get(layout.format.rule)
    groups = []
    for number in range(layout.groups):
        values = np.unique(dtype.values(number % len(dtype.specials)))
        places = np.concatenate([values, (values[1:] + values[:-1]) / 2]) * 2.0 ** random.randint(-8, 8)
        own = np.roll(np.resize(places, layout.elements // layout.groups), number)
        groups.append(own)
    half = np.array(groups).astype(np.float16)
    half = (half.view(np.int16) + np.where(half != 0, off, 0).astype(np.int16)).view(np.float16)
    tokens, channels = layout.tokens, layout.channels
    if layout.format.axis == "token":
        return half.reshape(tokens, channels)
    length = half.shape[1]
    return half.reshape(tokens // length, channels, length).transpose(0, 2, 1).reshape(tokens, channels)
