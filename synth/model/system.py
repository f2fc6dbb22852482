"""Time of a prompt and of a token: every layer is as slow as its array or its memory, whichever is slower.

Overlapped: within one product (or one layer's attention), computing with reading and writing memory, and
quantising new keys and values with both. Not overlapped: one product with the next, since each needs the
results of the one before; aligning a vector with the product that uses it.

Memory moves weights, activations in and out, and keys and values, packed, with all metadata. A prompt's
operands that exceed their buffers are read again, by the published rule. Scores stay on the chip.

Left out for every design: norms, position embedding, latency of memory, bank conflicts; for all but kvloom
softmax as well.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from synth.model.accelerators import Accelerator
from synth.model.networks import Network
from synth.model.published import traffic

__all__ = ["DRAM_PJ_PER_BYTE", "Machine", "Part", "Step", "decode", "prefill"]

DRAM_PJ_PER_BYTE = 150.0
"""The published simulator's 1200 pJ for 64 bits."""


@dataclass(frozen=True)
class Machine:
    """Clock and memory.

    Attributes:
        bandwidth: GB/s.
        clock: GHz.
    """

    bandwidth: float = 32.0
    clock: float = 1.0

    @property
    def bytes_per_cycle(self) -> float:
        """Bytes that memory moves in a cycle."""
        return self.bandwidth / self.clock


USUAL = Machine()
"""32 GB/s and 1 GHz, as published."""


@dataclass(frozen=True)
class Part:
    """One product, or one layer's attention, ``count`` times.

    Attributes:
        kind: "linear" or "attention".
        count: how often.
        macs: multiplications.
        compute, memory, writing: cycles of the array, of memory, and of the quantisers.
        weight_bytes, kv_bytes, activation_bytes: what memory moves.
    """

    kind: str
    count: int
    macs: float
    compute: float
    memory: float
    writing: float
    weight_bytes: float
    kv_bytes: float
    activation_bytes: float

    @property
    def cycles(self) -> float:
        """Cycles of all of them."""
        return self.count * max(self.compute, self.memory, self.writing)


@dataclass(frozen=True)
class Step:
    """A pass over some tokens of every sequence.

    Attributes:
        parts: what it is made of.
        tokens: tokens that come of it: one for each sequence.
        machine: clock and memory.
    """

    parts: tuple[Part, ...]
    tokens: int
    machine: Machine

    @property
    def cycles(self) -> float:
        """Cycles."""
        return sum(part.cycles for part in self.parts)

    @property
    def seconds(self) -> float:
        """Time."""
        return self.cycles / self.machine.clock / 1e9

    @property
    def tokens_per_second(self) -> float:
        """Rate at which it gives tokens."""
        return self.tokens / self.seconds

    def bytes(self, kind: str = "") -> float:
        """Bytes moved: weight, kv, activation, or all of them."""
        kinds = (kind,) if kind else ("weight", "kv", "activation")
        return sum(part.count * getattr(part, f"{name}_bytes") for part in self.parts for name in kinds)

    @property
    def macs(self) -> float:
        """Multiplications."""
        return sum(part.count * part.macs for part in self.parts)

    def share(self, what: str) -> float:
        """Share of the time in which ``compute``, ``memory`` or ``writing`` is at work."""
        return sum(part.count * getattr(part, what) for part in self.parts) / self.cycles

    @property
    def dram_energy(self) -> float:
        """Energy of memory in J."""
        return self.bytes() * DRAM_PJ_PER_BYTE * 1e-12


def _parts(
    design: Accelerator, network: Network, tokens: int, context: int, batch: int, machine: Machine
) -> Iterator[Part]:
    for count, inputs, outputs in network.linear:
        head = outputs == network.vocabulary
        rows = batch * (1 if head else tokens)
        compute, weight_bytes = design.linear(inputs, outputs, rows, head)
        weights, read = traffic(weight_bytes, 2 * rows * inputs)
        activations = read + 2 * rows * outputs
        memory = (weights + activations) / machine.bytes_per_cycle
        macs = inputs * outputs * rows
        yield Part("linear", count, macs, compute, memory, 0, weights, 0, activations)

    width = network.heads * network.head
    kv = batch * design.moved(network, tokens, context)
    activations = 4 * batch * tokens * width
    yield Part(
        "attention",
        network.layers,
        2 * batch * tokens * context * width,
        design.attention(network, tokens, context, batch),
        (kv + activations) / machine.bytes_per_cycle,
        batch * design.writing(network, tokens),
        0,
        kv,
        activations,
    )


def decode(
    design: Accelerator, network: Network, context: int, batch: int = 1, machine: Machine = USUAL
) -> Step:
    """One more token for each of ``batch`` sequences whose caches hold ``context`` tokens."""
    return Step(tuple(_parts(design, network, 1, context, batch, machine)), batch, machine)


def prefill(
    design: Accelerator, network: Network, prompt: int, batch: int = 1, machine: Machine = USUAL
) -> Step:
    """A prompt of ``prompt`` tokens for each of ``batch`` sequences."""
    return Step(tuple(_parts(design, network, prompt, prompt, batch, machine)), batch, machine)
