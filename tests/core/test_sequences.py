"""Sequences that take turns on one image: each is what it would be alone."""

from typing import Any

import numpy as np
import pytest

from golden.checkpoint import Checkpoint
from golden.compile import compiled
from golden.core import geometry
from golden.core.commands import LINE_BYTES, Opcode
from golden.core.image import Image
from golden.core.machine import Machine
from golden.core.state import HEAD, SEQUENCE, field_values

PROMPTS = [[5, 7, 260], [300, 4]]
LIMIT = 80
PLACES = ("window", "tokens", "model_low", "model_high")
"""Fields that say where something lies, or of which image it is."""


def made(tiny_file: Checkpoint, sequences: int) -> Image:
    return compiled(str(tiny_file.path), "bitmod4", "int8", "native4_paged", "tiny", LIMIT, sequences)


@pytest.fixture(scope="module")
def pair(tiny_file: Checkpoint) -> Image:
    return made(tiny_file, 2)


def own_memory(machine: Machine, number: int) -> dict[str, Any]:
    """What memory holds of a sequence: tokens, pages and windows as they are, state and headers by field."""
    symbols, found = machine.symbols, {}
    prefix = f"sequence{number}." if number else ""
    lines = symbols.lines_of
    ends = dict(zip(lines.values(), [*list(lines.values())[1:], symbols.lines], strict=True))
    memory = machine.memory.reshape(-1, LINE_BYTES)
    for name, line in lines.items():
        if not name.startswith(f"{prefix}layer") or ".head" not in name:
            continue
        if name.endswith((".window", ".pages")):
            found[name.removeprefix(prefix)] = memory[line : ends[line]].tobytes()
        else:
            found[name.removeprefix(prefix)] = field_values(memory[line].view("<u4"), HEAD)
    state = memory[symbols.sequence + number].view("<u4")
    found["state"] = field_values(state, SEQUENCE)
    first = symbols.tokens_of(number)
    found["tokens"] = memory[first : first + -(-4 * LIMIT // LINE_BYTES)].tobytes()
    for part in found.values():
        if isinstance(part, dict):
            for name in PLACES:
                part.pop(name, None)
    return found


@pytest.mark.parametrize("tokens", [6, pytest.param(66, marks=pytest.mark.long)])
def test_each_is_what_it_is_alone(tiny_file: Checkpoint, pair: Image, tokens: int) -> None:
    """Of prompts of different lengths; in the longer texts pages close."""
    alone = made(tiny_file, 1)
    together = Machine(pair.with_prompt(*PROMPTS), pair.symbols, geometry.get("tiny"))
    said: list[list[int]] = [[], []]
    for turn in range(2 * tokens):
        said[turn % 2].append(together.run_token())
    assert said[0] != said[1]
    for number, prompt in enumerate(PROMPTS):
        machine = Machine(alone.with_prompt(prompt), alone.symbols, geometry.get("tiny"))
        assert said[number] == [machine.run_token() for _ in range(tokens)]
        wanted, found = own_memory(machine, 0), own_memory(together, number)
        assert len(wanted) == 2 + 3 * 2 * 4
        assert any(wanted["layer1.head3.pages"]) == (tokens >= 64)
        assert found == wanted


def test_commands_of_both_are_alike(pair: Image) -> None:
    """They differ in their ids, and in the lines of the sequence and of its heads."""
    symbols = pair.symbols
    ring = pair.memory[symbols.ring * LINE_BYTES :].view("<u4")[: 16 * symbols.commands].reshape(2, -1, 16)
    differ = ring[0] != ring[1]
    differ[:, 1] = False
    own = np.isin(ring[0, :, 0] & 0xFF, [Opcode.BEGIN, Opcode.APPEND, Opcode.CLOSE, Opcode.ATTEND])
    assert differ[own, 3].all()
    differ[own, 3] = False
    assert not differ.any()


@pytest.mark.quick
@pytest.mark.parametrize("prompts", [PROMPTS[:1], [*PROMPTS, [1]]])
def test_a_prompt_for_each(pair: Image, prompts: list[list[int]]) -> None:
    with pytest.raises(ValueError, match=f"prompts {len(prompts)} must be 2, one of each sequence"):
        pair.with_prompt(*prompts)
