"""Cycles of a product in kvloom's accelerator, from the rules that its circuits follow.

Without stalls from outside, everything that happens follows from a few rules, each stated where the circuit
is described: the unpacker takes a window a cycle (``hw.weights.unpack_sequencer``,
``hw.weights.packet_plan``), the array a chunk every ``terms`` cycles and a group when its dot products find
room (``hw.pe.array``), the rescaler ``slots`` turns a group (``hw.pe.rescaler``). ``product_cycles`` plays
them for one packet, chunk by chunk.

A long matrix is not played to its end. What the unpacker finds in a row block depends on where in a word the
block begins, which repeats after at most ``word_bits / rows`` blocks; so do its cycles.
"""

from collections import deque
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from amaranth.utils import bits_for

from golden.weights.packet import CHANNEL_FIELDS, HEADER_BITS, Packet
from hw.config import Config
from hw.pe import array, rescale_unit, rescaler
from hw.weights.lane_mapper import lane_map
from hw.weights.packet_plan import Tail, scale_takes
from hw.weights.realigner import extra_granules

__all__ = ["product_cycles", "vector_cycles"]


def vector_cycles(config: Config, inputs: int) -> int:
    """Cycles in which an activation vector is taken; the one after the present one is taken meanwhile."""
    return -(-inputs // config.activation_lanes)


def product_cycles(config: Config, packet: Packet) -> int:
    """Cycles from a packet's first word to its last result, no stream stalling, its vector at hand.

    Args:
        config: the accelerator; ``rows`` and ``lanes`` of the packet must be its own.
        packet: the product.

    Raises:
        ValueError: the packet is not for this accelerator.
    """
    if (packet.rows, packet.lanes) != (config.rows, config.lanes):
        raise ValueError(
            f"packet for {packet.rows} rows, {packet.lanes} lanes must be for {config.rows}, {config.lanes}"
        )
    key: Any = config, packet
    if key not in _KNOWN:
        _KNOWN[key] = _cycles(config, packet)
    return _KNOWN[key]


_KNOWN: dict[Any, int] = {}


def _cycles(config: Config, packet: Packet) -> int:
    period = config.word_bits // config.rows
    played = min(packet.blocks, 2 * period + (packet.blocks - 1) % period + 1)
    ends = _Timeline(config, packet).play(played)
    left_out = (packet.blocks - played) // period
    repeated = left_out * (ends[-1] - ends[-1 - period]) if left_out else 0
    last_rows = packet.outputs - (packet.blocks - 1) * packet.rows
    unused = config.slots - -(-last_rows // config.rescale_units)
    return ends[-1] + repeated - unused * config.turns(packet.has_offset) // config.slots


@dataclass
class _Plan:
    """Windows of a packet's row block, in granules of ``rows`` bits."""

    config: Config
    packet: Packet

    @cached_property
    def chunk(self) -> tuple[int, ...]:
        """Windows of a chunk."""
        plan = lane_map(self.packet.dtype, self.config)
        return (plan.granules[0],) * (plan.takes - 1) + (plan.granules[1],)

    @cached_property
    def scales(self) -> tuple[int, ...]:
        """Windows of a group's scales."""
        dtype = self.packet.dtype
        tail = Tail.ZERO if dtype.asymmetric else Tail.NONE
        tail = Tail.OFFSET if self.packet.has_offset else tail
        takes = scale_takes(self.packet.scale, tail, self.config)
        return tuple(sum(dtype.bits if name == "zero" else bits for name, bits in take) for take in takes)

    @cached_property
    def joined(self) -> bool:
        """Whether scales and the next selectors can come with a group's last codes."""
        together = self.scales[0] + self.packet.dtype.selector_bits
        return len(self.scales) == 1 and together <= extra_granules(self.config)


class _Timeline:
    """The cycles in which things happen; the first word is taken in cycle 0."""

    def __init__(self, config: Config, packet: Packet) -> None:
        self.config, self.packet, self.plan = config, packet, _Plan(config, packet)
        self.word = config.word_bits // config.rows
        self.terms = packet.dtype.term_count
        self.turns = config.turns(packet.has_offset)
        header = max(HEADER_BITS // config.word_bits, 1)
        offered = header + bits_for(config.chunks) + 3
        self.at = offered + 1  # when the unpacker takes its next window
        self.offset = HEADER_BITS // config.rows % self.word
        self.taken = -1  # when the array took its last chunk
        self.activations = offered + 2
        places = 1 + config.waiting_groups
        self.turn_end = -1000
        self.groups = deque([(-1000, -1000)] * places, places)  # last term and last turn of the latest groups
        self.bank_moves = self.scales_at = self.channels_free = -1000

    def play(self, blocks: int) -> list[int]:
        """Cycles if the packet ended with the first, second, ... of so many row blocks."""
        results = []
        sizes = [self.packet.group] * (self.packet.groups - 1) + [self.packet.last_inputs]
        for _ in range(blocks):
            selector = self.packet.dtype.selector_bits
            if selector:
                self._take(selector)
            for number, inputs in enumerate(sizes):
                following = selector if number + 1 < len(sizes) else 0
                self._group(self.packet.chunks(inputs), following)
            self._take(sum(bits for _, bits in CHANNEL_FIELDS), self.channels_free)
            self.channels_free = self.turn_end + rescale_unit.latency(self.config)
            results.append(self._last_result() + 1)
        return results

    def _last_result(self) -> int:
        """When the last result of the row block leaves."""
        buffered = 2 if self.config.result_beats else 0
        return self.turn_end + rescaler.latency(self.config) + buffered

    def _take(self, granules: int, earliest: int = 0) -> int:
        """Take a window; returns when."""
        when = max(self.at, earliest)
        self.at = when + 1
        self.offset = (self.offset + granules) % self.word
        return when

    def _group(self, chunks: int, following: int) -> None:
        """One group: its chunks through the array, its scales, its turns in the rescaler."""
        plan = self.plan
        for number in range(chunks):
            last = number + 1 == chunks
            for granules in plan.chunk[:-1]:
                self._take(granules)
            when = max(self.at, self.taken)  # the chunk before leaves its register
            together = plan.chunk[-1] + plan.scales[0] + following
            joined = (
                last and plan.joined and when > self.bank_moves and self.offset + together < 2 * self.word
            )
            self._take(together if joined else plan.chunk[-1], when)
            begins = max(when, self.taken, self.activations - 1) + 1
            self.taken = begins + self.terms - 1
            if last:
                self._load_scales(when if joined else None, following)
                self._finish_group()

    def _load_scales(self, joined: int | None, following: int) -> None:
        """Scales, and the next group's selectors, go to the bank that is free."""
        when = joined
        if when is None:
            selectors = following if self.plan.joined else 0
            for granules in self.plan.scales:
                when = self._take(granules + selectors, self.bank_moves + 1)
            if following and not self.plan.joined:
                self._take(following)
        assert when is not None
        # offered two cycles later, or when the scales before have been used
        self.bank_moves = max(when + 1, self.turn_end)
        self.scales_at = self.bank_moves + 1

    def _finish_group(self) -> None:
        """The last term waits for a place behind it; then the rows take their turns."""
        latency = array.dots_latency(self.config)
        last_term, last_turn = self.groups[0]  # of the group whose place this one takes
        self.taken = max(self.taken, last_term + latency + 1, last_turn - array.CAPTURE_LATENCY + 1)
        begins = max(self.taken + latency, self.scales_at, self.turn_end + 1)
        self.turn_end = begins + self.turns - 1
        self.groups.append((self.taken, self.turn_end))
