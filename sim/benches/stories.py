"""Stories: packets and vectors in the order in which an accelerator gets them, and what must come of it."""

import random
from collections import Counter
from collections.abc import Callable

import numpy as np
from cocotbext.axi import AxiStreamFrame

from golden.matvec import matvec_bits
from golden.weights import layout
from golden.weights.packet import HEADER_BITS, OUTPUTS, Packet
from golden.weights.quantized import QuantizedWeights, quantize
from hw.config import Config
from sim.benches.weights.matrices import random_weights

__all__ = ["FAULTS", "Story"]

FAULTS = ("none", "kept", "short", "long", "illegal", "mismatch", "mismatch_kept", "long_vector")
"""What ``Story.tell`` knows."""

_SPECIAL = {"fp16": 0x7C00, "bf16": 0x7F80}
_ILLEGAL = (
    (0, 0),
    (1, 2),
    (2, 255),
    (3, 4),
    (4, 32),
    (5, 64),
    (6, 32),
    (7, 1),
    (18, 255),
    (22, 255),
    (31, 1),
)
"""Bytes of the header and values that no legal one has there."""


def generator() -> np.random.Generator:
    """Numbers drawn from the run's seed."""
    return np.random.default_rng(random.getrandbits(32))


class Story:
    """Packets and vectors in order, the result packets that must come of them, and the registers.

    Attributes:
        config: of the accelerator.
        activations: format of the vectors.
        packets: the packets, whole words.
        vectors: the vectors' frames.
        results: of every packet with results, the bytes of its rows and a mark (``tuser``) for each of them.
        counts: values of the counters.
        status: STATUS when all is done.
        types: data types of the intact packets.
    """

    def __init__(self, config: Config, activations: str = "fp16") -> None:
        self.config, self.activations = config, activations
        self.packets: list[bytes] = []
        self.vectors: list[AxiStreamFrame] = []
        self.results: list[tuple[bytes, list[int]]] = []
        self.counts: Counter[str] = Counter()
        self.status = 0
        self.types: list[str] = []

    def matrix(
        self, outputs: int, inputs: int, dtype: str | None = None, group: int | None = None
    ) -> QuantizedWeights:
        """A quantised Gaussian matrix, or one of any bit patterns; groups of any length by default."""
        name = dtype or random.choice(self.config.types)
        group = group or random.choice(self.config.group_lengths)
        scale = random.choice(("int8", "fp16", "e8m0", "e4m3"))
        if random.random() < 0.6:
            return quantize(generator().standard_normal((outputs, inputs)), name, group, scale)
        return random_weights(self.config, name, scale, outputs, inputs, group, random.random() < 0.4)

    def size(self) -> tuple[int, int]:
        """Outputs and inputs of a small matrix, mostly with short last groups and row blocks."""
        return random.randint(1, 3 * self.config.rows), random.randint(1, 3 * self.config.group)

    def numbers(self, inputs: int, wild: bool = False) -> np.ndarray:
        """Bit patterns [columns, inputs]: of one magnitude, or any at all, with NaN and infinity."""
        shape = (self.config.columns, inputs)
        if wild:
            return generator().integers(0, 1 << 16, shape).astype(np.uint16)
        return generator().standard_normal(shape).astype(np.float16).view(np.uint16)

    def pack(self, q: QuantizedWeights, output: str, keep: bool = False) -> bytes:
        """A packet for this hardware."""
        config = self.config
        return layout.pack(q, config.rows, config.lanes, output, keep, config.memory_bits)

    def vector(self, bits: np.ndarray, group: int, holes: bool = False) -> np.ndarray:
        """Send a vector in groups of a length, garbage in its missing bytes; returns what it must read as."""
        columns, lanes = self.config.columns, self.config.activation_lanes
        padding = ((0, 0), (0, -bits.shape[1] % lanes))
        present = np.pad(np.ones(bits.shape, bool), padding)
        if holes:
            present &= generator().random(present.shape) < 0.8
        data = np.pad(bits, padding)
        sent = np.where(present, data, generator().integers(0, 1 << 16, data.shape)).astype("<u2")

        def beats(array: np.ndarray) -> np.ndarray:
            return array.reshape(columns, -1, lanes).swapaxes(0, 1).ravel()

        kept = np.repeat(beats(present), 2).astype(int).tolist()
        halvings = self.config.group_lengths.index(group)
        self.vectors.append(AxiStreamFrame(beats(sent).tobytes(), kept, tuser=halvings))
        read = np.where(present, data, 0).astype(np.uint16)
        exponent = _SPECIAL[self.activations]
        self.status |= 4 * int((read & exponent == exponent).any())
        return read[:, : bits.shape[1]]

    def expect(
        self, q: QuantizedWeights, bits: np.ndarray, output: str, valid_bits: int | None = None
    ) -> None:
        """One packet's results, with the row blocks marked that reach beyond ``valid_bits``."""
        config = self.config
        values, overflow = matvec_bits(q, bits, config, self.activations, output)
        has_offset = q.offset_mantissa is not None
        packet = Packet(q.dtype, q.scale_format, *q.shape, q.group, config.rows, config.lanes, has_offset)
        ends = HEADER_BITS + packet.block_bits * (np.arange(q.shape[0]) // config.rows + 1)
        marks = ends > (packet.bits if valid_bits is None else valid_bits)
        bytes_each = np.repeat(marks, 4 * config.columns).astype(int).tolist()
        self.results.append((values.T.astype("<u4").tobytes(), bytes_each))
        self.status |= 2 * int(overflow.any())
        self.counts["PACKETS"] += 1

    def product(self, q: QuantizedWeights, bits: np.ndarray, output: str) -> None:
        """A vector and its packet."""
        self.packets.append(self.pack(q, output))
        self.expect(q, self.vector(bits, q.group), output)
        self.types.append(q.dtype.name)

    def intact(self, keep: int = 0) -> None:
        """A vector and ``keep`` + 1 packets that share it, maybe with illegal ones between them."""
        inputs = self.size()[1]
        group = random.choice(self.config.group_lengths)
        bits = self.vector(self.numbers(inputs, random.random() < 0.1), group, random.random() < 0.2)
        for left in range(keep, -1, -1):
            q, output = self.matrix(self.size()[0], inputs, group=group), random.choice(OUTPUTS)
            self.packets.append(self.pack(q, output, left > 0))
            self.expect(q, bits, output)
            self.types.append(q.dtype.name)
            if left and random.random() < 0.3:
                self.illegal()

    def short(self) -> None:
        """A packet that ends early: zeros stand for the rest."""
        config, output = self.config, random.choice(OUTPUTS)
        q = self.matrix(3 * config.rows - 1, 2 * config.group + config.lanes + 1)
        data, word = self.pack(q, output), config.memory_bits // 8
        cut = word * random.randint(-(-HEADER_BITS // config.memory_bits), len(data) // word - 1)
        self.packets.append(data[:cut])
        filled = layout.unpack(data[:cut] + bytes(len(data) - cut))
        self.expect(filled, self.vector(self.numbers(q.shape[1]), q.group), output, 8 * cut)
        self.counts["ERROR_SHORT"] += 1

    def long(self) -> None:
        """A packet with words behind its end."""
        self.intact()
        self.packets[-1] += generator().bytes(random.randint(1, 5) * self.config.memory_bits // 8)
        self.counts["ERROR_LONG"] += 1

    def illegal(self) -> None:
        """A packet with an illegal header; it takes no vector."""
        data = bytearray(self.pack(self.matrix(*self.size()), "fp32", random.random() < 0.5))
        place, value = random.choice(_ILLEGAL)
        data[place] = value
        self.packets.append(bytes(data))
        self.counts["ERROR_HEADER"] += 1

    def mismatch(self, keep: int = 0) -> None:
        """Packets whose vector differs in beats or in groups; the last of them takes it along."""
        (outputs, inputs), lanes = self.size(), self.config.activation_lanes
        group, *others = random.sample(self.config.group_lengths, len(self.config.group_lengths))
        other = next((length for length in others if inputs > min(length, group)), None)
        lengths = [n for n in range(1, 3 * self.config.group) if -(-n // lanes) != -(-inputs // lanes)]
        if other is not None and random.random() < 0.5:
            self.vector(self.numbers(inputs), other)
        else:
            self.vector(self.numbers(random.choice(lengths)), group)
        for left in range(keep, -1, -1):
            self.packets.append(self.pack(self.matrix(outputs, inputs, group=group), "fp16", left > 0))
            self.counts["ERROR_MISMATCH"] += 1

    def overflow(self) -> None:
        """A product whose results are too large for their format."""
        weights = 1e6 * generator().standard_normal((self.config.rows, self.config.group))
        q = quantize(weights, random.choice(self.config.types), self.config.group, "fp16")
        self.product(q, self.numbers(self.config.group), "fp16")

    def special(self) -> None:
        """A vector with an infinity and its product."""
        bits = self.numbers(self.config.group)
        bits[0, random.randrange(self.config.group)] = _SPECIAL[self.activations]
        self.product(self.matrix(self.config.rows, self.config.group), bits, "fp32")

    def long_vector(self) -> None:
        """A vector longer than the hardware holds: what is too much is dropped."""
        most = self.config.maximum_inputs
        q = self.matrix(self.config.rows + 1, most)
        bits = self.vector(self.numbers(most + random.randint(1, 9)), q.group)
        self.packets.append(self.pack(q, "fp32"))
        self.expect(q, bits[:, :most], "fp32")
        self.counts["ERROR_VECTOR"] += 1

    def tell(self, fault: str) -> None:
        """One of ``FAULTS``."""
        acts: dict[str, Callable[[], None]] = {
            "none": self.intact,
            "kept": lambda: self.intact(keep=2),
            "mismatch_kept": lambda: self.mismatch(keep=2),
        }
        (acts.get(fault) or getattr(self, fault))()
