"""The packed layout: exact round trips, stated sizes, the worked example and the rejection of bad packets."""

import dataclasses
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden.numbers import datatypes, scales
from golden.weights import layout
from golden.weights.packet import HEADER_BITS, HEADER_FIELDS, Packet
from golden.weights.quantized import QuantizedWeights

pytestmark = pytest.mark.quick

SHAPES = ((1, 1, 16), (8, 32, 32), (13, 40, 32), (5, 172, 64), (9, 576, 128))


def random_weights(
    dtype: str, scale: str, outputs: int, inputs: int, group: int, offset: bool = False, seed: int = 0
) -> QuantizedWeights:
    """Any bit pattern that the fields can hold, not only those that quantising produces."""
    rng = np.random.default_rng(seed)
    kind, form = datatypes.get(dtype), scales.get(scale)
    per_group = (outputs, -(-inputs // group))

    def draw(low: int, high: int, shape: tuple[int, ...], kind: type) -> np.ndarray:
        return rng.integers(low, high + 1, shape).astype(kind)

    half = 1 << kind.bits - 1
    has_zero = kind.asymmetric and not offset
    return QuantizedWeights(
        dtype=kind,
        group=group,
        scale_format=form,
        codes=draw(0, len(kind.integers) - 1, (outputs, inputs), np.uint8),
        selector=draw(0, (1 << kind.selector_bits) - 1, per_group, np.uint8),
        scale_mantissa=(
            draw(0, (1 << form.mantissa_bits) - 1, per_group, np.uint16)
            if form.mantissa_bits
            else np.ones(per_group, np.uint16)
        ),
        scale_distance=draw(0, (1 << form.distance_bits) - 1, per_group, np.uint8),
        zero_point=draw(1 - half, half, per_group, np.int16) if has_zero else np.zeros(per_group, np.int16),
        offset_mantissa=draw(-2048, 2047, per_group, np.int16) if offset else None,
        offset_distance=draw(0, 31, per_group, np.uint8) if offset else None,
        channel_exponent=draw(-128, 127, (outputs,), np.int16),
    )


def assert_same(left: QuantizedWeights, right: QuantizedWeights) -> None:
    for field in dataclasses.fields(QuantizedWeights):
        one, other = getattr(left, field.name), getattr(right, field.name)
        if isinstance(one, np.ndarray):
            assert isinstance(other, np.ndarray), field.name
            assert one.dtype == other.dtype, field.name
            np.testing.assert_array_equal(one, other, err_msg=field.name)
        else:
            assert one == other, field.name


@pytest.mark.parametrize("offset", [False, True])
@pytest.mark.parametrize("scale", [entry.name for entry in scales.FORMATS])
@pytest.mark.parametrize("dtype", datatypes.names())
def test_round_trip(dtype: str, scale: str, offset: bool) -> None:
    for shape in SHAPES:
        q = random_weights(dtype, scale, *shape, offset)
        for rows, lanes in ((8, 16), (4, 4)):
            assert_same(layout.unpack(layout.pack(q, rows, lanes)), q)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_round_trip_of_any_shape(data: st.DataObject) -> None:
    lanes = data.draw(st.sampled_from((4, 8, 16)), "lanes")
    q = random_weights(
        data.draw(st.sampled_from(datatypes.names()), "dtype"),
        data.draw(st.sampled_from([entry.name for entry in scales.FORMATS]), "scale"),
        data.draw(st.integers(1, 40), "outputs"),
        data.draw(st.integers(1, 200), "inputs"),
        lanes * data.draw(st.integers(1, 256 // lanes), "chunks"),
        data.draw(st.booleans(), "offset"),
        data.draw(st.integers(0, 1 << 20), "seed"),
    )
    rows = data.draw(st.sampled_from((4, 8, 16, 32)), "rows")
    word = data.draw(st.sampled_from((None, 64, 128, 256, 512, 1024)), "word_bits")
    buf = layout.pack(q, rows, lanes, word_bits=word)
    assert len(buf) % ((word or 64) // 8) == 0
    assert_same(layout.unpack(buf), q)


def test_round_trip_in_several_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    q = random_weights("int3_asym", "fp16", 43, 40, 32)
    whole = layout.pack(q, rows=4, lanes=8)
    monkeypatch.setattr(layout, "_SLAB_BITS", 1)
    assert layout.pack(q, rows=4, lanes=8) == whole
    assert_same(layout.unpack(whole), q)


@pytest.mark.parametrize(
    ("dtype", "scale", "offset", "bits"),
    [
        ("int4", "int8", False, 2 * (128 * 4 + 8) + 48 * 4 + 8 + 8),
        ("bitmod3", "int8", False, 2 * (2 + 128 * 3 + 8) + (2 + 48 * 3 + 8) + 8),
        ("int4_asym", "fp16", False, 2 * (128 * 4 + 16 + 4) + 48 * 4 + 16 + 4 + 8),
        ("int4_asym", "fp16", True, 2 * (128 * 4 + 16 + 17) + 48 * 4 + 16 + 17 + 8),
        ("e2m1", "e8m0", False, 2 * (128 * 4 + 8) + 48 * 4 + 8 + 8),
        ("ternary", "int8", False, 2 * (8 * 26 + 8) + 3 * 26 + 8 + 8),
    ],
)
def test_size(dtype: str, scale: str, offset: bool, bits: int) -> None:
    """Per row of 300 inputs in groups of 128, 128 and 44 (3 chunks of 16); 20 rows are 3 blocks of 8."""
    q = random_weights(dtype, scale, 20, 300, 128, offset)
    size = 256 + 3 * 8 * bits
    assert len(layout.pack(q)) == -(-size // 64) * 8
    assert len(layout.pack(q, word_bits=512)) == -(-size // 512) * 64


def test_worked_example() -> None:
    q = QuantizedWeights(
        dtype=datatypes.get("int4"),
        group=4,
        scale_format=scales.get("int8"),
        codes=np.array([[1, 2, 3], [4, 5, 6]], np.uint8),
        selector=np.zeros((2, 1), np.uint8),
        scale_mantissa=np.array([[200], [100]], np.uint16),
        scale_distance=np.zeros((2, 1), np.uint8),
        zero_point=np.zeros((2, 1), np.int16),
        channel_exponent=np.array([-3, 1], np.int16),
    )
    text = (layout.__doc__ or "").partition("Worked example")[2]
    expected = bytes.fromhex(" ".join(re.findall(r"^ {4}((?:[0-9a-f]{2} +)*[0-9a-f]{2})\b", text, re.M)))
    assert layout.pack(q, rows=4, lanes=4) == expected
    assert_same(layout.unpack(expected), q)


def corrupted(buf: bytes, name: str, value: int) -> bytes:
    """A packet with one field of its header overwritten."""
    widths = dict(HEADER_FIELDS)
    names = list(widths)
    offset = sum(widths[before] for before in names[: names.index(name)])
    word = int.from_bytes(buf[: HEADER_BITS // 8], "little")
    word &= ~((1 << widths[name]) - 1 << offset)
    return (word | value << offset).to_bytes(HEADER_BITS // 8, "little") + buf[HEADER_BITS // 8 :]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("magic", 0x6A, r"magic 0x6a must be 0x6b"),
        ("version", 2, r"version 2 must be 1"),
        ("dtype", 255, r"dtype 255 must be 0\.\.\d+"),
        ("dtype", 0, r"specials \d+ must be 0 for its type"),
        ("scale", 4, r"scale 4 must be 0\.\.3"),
        ("output", 3, r"output 3 must be 0\.\.2"),
        ("unsigned_codes", 1, r"unsigned_codes 1 must be 0 without an offset or an asymmetric type"),
        ("reserved_flags", 1, r"reserved_flags 1 must be 0"),
        ("reserved_byte", 1, r"reserved_byte 1 must be 0"),
        ("reserved_end", 1, r"reserved_end 1 must be 0"),
        ("rows", 7, r"rows 7 must be 4, 8, 16 or 32"),
        ("lanes", 0, r"lanes 0 must be 4, 8 or 16"),
        ("outputs", 0, r"outputs 0 must be 1\.\.65535 \* rows"),
        ("inputs", 0, r"inputs 0 must be 1\.\.4294967295"),
        ("group", 0, r"group 0 must be a multiple of lanes 16 in 1\.\.65535"),
        ("group", 72, r"group 72 must be a multiple of lanes 16 in 1\.\.65535"),
        ("groups", 2, r"groups 2 must be 3 for the header's counts"),
        ("last_inputs", 45, r"last_inputs 45 must be 44 for the header's counts"),
        ("blocks", 4, r"blocks 4 must be 3 for the header's counts"),
        ("outputs", 25, r"blocks 3 must be 4 for the header's counts"),
        ("specials", 1, r"specials 1 must be \d+ for its type"),
    ],
)
def test_corrupted_header(name: str, value: int, message: str) -> None:
    buf = layout.pack(random_weights("bitmod4", "int8", 20, 172, 64))
    with pytest.raises(ValueError, match=f"^{message}$"):
        layout.unpack(corrupted(buf, name, value))


def test_corrupted_length() -> None:
    buf = layout.pack(random_weights("int4", "int8", 8, 32, 32))
    with pytest.raises(ValueError, match=r"^packet length 31 bytes must be at least 32 bytes$"):
        layout.unpack(buf[:31])
    with pytest.raises(
        ValueError, match=rf"^packet length {len(buf) - 8} bytes must be \d+ and zero padding"
    ):
        layout.unpack(buf[:-8])
    with pytest.raises(ValueError, match=r"^packet length"):
        layout.unpack(buf + b"\1")
    with pytest.raises(ValueError, match=r"^packet length"):
        layout.unpack(buf + bytes(128))
    layout.unpack(buf + bytes(64))


def test_illegal_trits() -> None:
    buf = bytearray(layout.pack(random_weights("ternary", "int8", 8, 32, 32)))
    buf[32] = 255
    with pytest.raises(ValueError, match=r"^byte 0xff does not stand for five trits$"):
        layout.unpack(bytes(buf))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"group": 40}, r"group 40 must be a multiple of lanes 16 in 1\.\.65535"),
        ({"codes": np.full((8, 40), 16, np.uint8)}, r"codes of int4 reach 16, must be 0\.\.15"),
        (
            {"scale_mantissa": np.full((8, 2), 256, np.uint16)},
            r"scale_mantissa reaches 256\.\.256, .*0\.\.255",
        ),
        ({"scale_distance": np.ones((8, 2), np.uint8)}, r"scale_distance reaches 1\.\.1, must be 0\.\.0"),
        ({"zero_point": np.ones((8, 2), np.int16)}, r"zero reaches 7\.\.7, must be 8\.\.8"),
        ({"channel_exponent": np.full(8, 128, np.int16)}, r"channel_exponent reaches .* must be -128\.\.127"),
        ({"channel_exponent": np.zeros(7, np.int16)}, r"channel_exponent has shape \(7,\), must be \(8,\)"),
    ],
)
def test_unpackable_weights(change: dict[str, object], message: str) -> None:
    q = dataclasses.replace(random_weights("int4", "int8", 8, 40, 32), **change)
    with pytest.raises(ValueError, match=f"^{message}$"):
        layout.pack(q)


def test_illegal_arguments() -> None:
    q = random_weights("int4", "int8", 8, 32, 32)
    with pytest.raises(ValueError, match=r"^rows 6 must be 4, 8, 16 or 32$"):
        layout.pack(q, rows=6)
    with pytest.raises(ValueError, match=r"^output 'fp8' must be one of fp16, bf16, fp32$"):
        layout.pack(q, output="fp8")
    with pytest.raises(ValueError, match=r"^word_bits 96 must be 64, 128, 256, 512 or 1024$"):
        layout.pack(q, word_bits=96)


def test_flags_reach_the_header() -> None:
    q = random_weights("int4_asym", "fp16", 8, 32, 32, offset=True)
    packet = Packet.parse(layout.pack(q, output="fp32", keep_activations=True))
    assert (packet.has_offset, packet.keep_activations, packet.output) == (True, True, "fp32")


def test_unsigned_codes() -> None:
    """Zero points of 2**(b-1) beside an offset, as in GGUF Q4_1, take one bit of the header."""
    signed = random_weights("int4_asym", "fp16", 8, 64, 32, offset=True)
    q = dataclasses.replace(signed, zero_point=np.full((8, 2), 8, np.int16))
    buf = layout.pack(q)
    assert_same(layout.unpack(buf), q)
    assert len(buf) == len(layout.pack(signed))
    mixed = dataclasses.replace(signed, zero_point=np.array([[8, 7]] * 8, np.int16))
    with pytest.raises(ValueError, match=r"^zero reaches 0\.\.1, must be 0\.\.0$"):
        layout.pack(mixed)
