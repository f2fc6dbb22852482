"""Commands of the KV cache against the models' cache that the attention engine reads."""

import numpy as np
import pytest

from golden.core import kv
from golden.core.commands import LINE_BYTES, Status
from golden.core.kv_shape import format_of
from golden.core.state import HEAD, RECORD_BYTES
from golden.kv.formats import Format
from golden.kv.schemes import SCHEMES, Scheme
from golden.model.engine_memory import EngineMemory
from hw.config import preset
from sim.benches.core.kv_heads import Head, bits_of, shape_of
from sim.benches.kv.pages import FORMATS

pytestmark = pytest.mark.quick

SHAPE = shape_of(preset("tiny"))
TURNED = Scheme(
    Format("native", 4, "channel", 32),
    Format("native", 2, "channel", 32),
    "paged",
    5,
    SCHEMES["native4_paged"].window_format,
)
SOME = {"paged": SCHEMES["native4_paged"], "paged128": SCHEMES["native2_paged128"], "turned": TURNED}
HALF = SHAPE.channels // 2


def head_of(memory: np.ndarray, scheme: Scheme, tokens: int, line: int) -> Head:
    """A head of 32 channels."""
    return Head(memory, SHAPE, lambda number: (scheme.key, scheme.value), 32, scheme.residual, tokens, line)


@pytest.mark.parametrize("name", SOME)
def test_every_token_is_a_decode_step(name: str, rng: np.random.Generator) -> None:
    """Two heads, token after token; some are loud, so that tops grow."""
    scheme = SOME[name]
    count = scheme.residual + 68
    loud = np.exp(rng.standard_normal((2, 2, count, 1)))
    sides = (rng.standard_normal((2, 2, count, 32)) * loud).astype(np.float32)
    sides[1, 1] = np.abs(sides[1, 1])
    queries = rng.standard_normal((2, 4, count, 32)).astype(np.float32)
    wanted = EngineMemory(2, 32, scheme, SHAPE.numerics)
    memory = rng.integers(0, 256, 1 << 18, np.uint8)
    heads = [head_of(memory, scheme, count, 5)]
    heads.append(head_of(memory, scheme, count, heads[0].end))
    scratch = rng.standard_normal(512).astype(np.float32)
    for position in range(count):
        wanted.append(sides[0, :, position : position + 1], sides[1, :, position : position + 1])
        outputs = wanted.read(queries[:, :, position : position + 1], position)
        for number, head in enumerate(heads):
            for side in range(2):
                scratch[48:80] = sides[side, number, position]
                fields = {"head": head.line, "source": 48, "side": side, "ahead": 0}
                assert kv.append(memory, scratch, fields, position, SHAPE)[0] == Status.DONE
                assert kv.close(memory, fields, position, SHAPE)[0] == Status.DONE
        scratch[:256] = queries[:, :, position].ravel()
        fields = {"head": heads[0].line, "heads": 2, "pitch": heads[1].line - heads[0].line, "queries": 4}
        fields |= {"source": 0, "destination": 256}
        assert kv.attend(memory, scratch, fields, position, SHAPE) == (Status.DONE, 0)
        assert scratch[256:].tolist() == outputs.ravel().tolist()


@pytest.mark.parametrize("ahead", [1, 17, 31])
def test_pages_close_ahead(ahead: int, rng: np.random.Generator) -> None:
    """In a window of 32 tokens: at every token at which one is due they are what they are without."""
    scheme, count = SOME["paged"], 128
    memory = rng.integers(0, 256, 1 << 17, np.uint8)
    head = head_of(memory, scheme, count, 5)
    other, closed = memory.copy(), []
    for position in range(count):
        scratch = rng.standard_normal(512).astype(np.float32)
        for side in range(2):
            for own, early in ((memory, 0), (other, ahead)):
                fields = {"head": head.line, "source": 48, "side": side, "ahead": early}
                if early:  # before the present token is there
                    closed.append((position, kv.close(own, fields, position, SHAPE)[1] > 0))
                assert kv.append(own, scratch, fields, position, SHAPE)[0] == Status.DONE
                if not early:
                    assert kv.close(own, fields, position, SHAPE)[0] == Status.DONE
        assert (position + 1) % 32 or (memory == other).all()
    assert [position for position, found in closed[::2] if found] == [63 - ahead, 95 - ahead, 127 - ahead]


@pytest.mark.parametrize(("rule", "bits"), FORMATS)
@pytest.mark.parametrize("axis", ["token", "channel"])
def test_formats(rule: str, bits: int, axis: str) -> None:
    """A record holds every format of the circuits."""
    for group in (16, 32, 64, 128):
        gamma = 0.75 if rule.startswith("ternary") else 0.7
        form = Format(rule, bits, axis, group, gamma)
        assert format_of(bits_of(form)) == form
    assert format_of(6) is None
    assert format_of(7) is None


FIELDS = {field.name: field for field in HEAD}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("channels", (0, 1, 3, 4, 255)),
        ("slots", (0, 3, 255)),
        ("key_top", (0, 32, 255)),
        ("value_top", (0, 32)),
        ("pages", (0,)),
    ],
)
def test_bad_headers(name: str, values: tuple[int, ...], rng: np.random.Generator) -> None:
    """They change nothing."""
    scheme = SOME["paged"]
    memory = rng.integers(0, 256, 1 << 17, np.uint8)
    head = head_of(memory, scheme, 128, 7)
    scratch = rng.standard_normal(512).astype(np.float32)
    field = FIELDS[name]
    for value in values:
        own = memory.copy()
        first = 7 * LINE_BYTES + 4 * field.word + field.low // 8
        own[first : first + field.width // 8] = list(value.to_bytes(field.width // 8, "little"))
        before, vectors = own.copy(), scratch.copy()
        fields = {
            "head": head.line,
            "source": 0,
            "side": 0,
            "destination": 0,
            "ahead": 0,
            "queries": 1,
            "heads": 1,
            "pitch": 0,
        }
        assert kv.append(own, scratch, fields, 63, SHAPE) == (Status.BAD_PAGE, 0)
        assert kv.close(own, fields, 63, SHAPE) == (Status.BAD_PAGE, 0)
        assert kv.attend(own, scratch, fields, 63, SHAPE) == (Status.BAD_PAGE, 0)
        assert (own == before).all()
        assert (scratch == vectors).all()


def test_outside(rng: np.random.Generator) -> None:
    """Wherever memory ends: nothing is read behind it, what is written there is dropped."""
    whole = rng.integers(0, 256, 1 << 17, np.uint8)
    head = head_of(whole, SOME["paged"], 128, 7)
    scratch = rng.standard_normal(512).astype(np.float32)
    fields = {
        "head": head.line,
        "source": 0,
        "side": 1,
        "destination": 0,
        "ahead": 0,
        "queries": 4,
        "heads": 1,
        "pitch": 0,
    }
    for position in range(64):
        for side in range(2):
            kv.append(whole, scratch, fields | {"side": side}, position, SHAPE)
    for end in range(head.line, head.end + 1):
        memory, other = whole[: end * LINE_BYTES].copy(), whole.copy()
        for call in (kv.append, lambda memory, _, *rest: kv.close(memory, *rest)):
            status, _ = call(memory, scratch, fields, 63, SHAPE)
            wanted, _ = call(other, scratch, fields, 63, SHAPE)
            assert wanted == Status.DONE
            if status == Status.DONE:
                assert (memory == other[: len(memory)]).all()
            assert status in (Status.DONE, Status.OUTSIDE)
        assert status == (Status.DONE if end == head.end else Status.OUTSIDE) or end * LINE_BYTES > (
            head.records + RECORD_BYTES
        )
