"""Cycles of a product in kvloom's accelerator, from the rules that its circuits follow.

Without stalls from outside, everything that happens follows from a few rules, each stated where the circuit
is described: the unpacker takes a window a cycle (``hw.weights.unpack_sequencer``,
``hw.weights.packet_plan``), the array a chunk every ``terms`` cycles and a group when its dot products find
room (``hw.pe.array``), the rescaler ``slots`` turns a group (``hw.pe.rescaler``). ``product_cycles`` plays
them for one packet, chunk by chunk.

A long matrix is not played to its end. What the unpacker finds in a row block depends on where in a word the
block begins, which repeats after at most ``memory_bits / rows`` blocks; so do its cycles.
"""

from collections import deque
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from amaranth.utils import bits_for

from golden.weights.packet import CHANNEL_FIELDS, HEADER_BITS, Packet, metadata_fields
from hw.config import Config
from hw.pe import array, rescale_unit, rescaler
from hw.weights.lane_mapper import lane_map

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
    period = config.memory_bits // config.rows
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
        word = self.config.memory_bits // self.config.rows
        return (word,) * (plan.takes - 1) + (plan.granules,)

    @cached_property
    def undivided(self) -> int:
        """A chunk that may be read in one window instead of two, else 0."""
        return lane_map(self.packet.dtype, self.config).undivided

    @cached_property
    def scales(self) -> int:
        """Columns of a group's scales, with zeros or offsets."""
        packet = self.packet
        return sum(bits for _, bits in metadata_fields(packet.dtype, packet.scale, packet.has_offset))


class _Timeline:
    """The cycles in which things happen; the first word is taken in cycle 0."""

    def __init__(self, config: Config, packet: Packet) -> None:
        self.config, self.packet, self.plan = config, packet, _Plan(config, packet)
        self.word = config.memory_bits // config.rows
        self.terms = packet.dtype.term_count
        self.turns = config.turns(packet.has_offset)
        header = max(HEADER_BITS // config.memory_bits, 1)
        offered = header + bits_for(config.chunks) + 3
        self.at = offered + 3  # when the unpacker takes its next window
        self.offset = HEADER_BITS // config.rows % self.word
        self.taken = -1  # when the array took its last chunk
        self.activations = offered + 2
        places = 1 + config.waiting_groups
        self.turn_end = -1000
        self.groups = deque([(-1000, -1000)] * places, places)  # last term and last turn of the latest groups
        self.columns_free = self.scales_leave = self.scales_at = self.channels_free = -1000

    def play(self, blocks: int) -> list[int]:
        """Cycles if the packet ended with the first, second, ... of so many row blocks."""
        results = []
        sizes = [self.packet.group] * (self.packet.groups - 1) + [self.packet.last_inputs]
        selector = self.packet.dtype.selector_bits
        channels = sum(bits for _, bits in CHANNEL_FIELDS)
        if selector:
            self._take(selector)
        for block in range(blocks):
            for number, inputs in enumerate(sizes):
                closes = number + 1 == len(sizes)
                # A packet's last group has no selectors behind it; what comes after it is not played.
                follows = selector if not closes or block + 1 < self.packet.blocks else 0
                self._group(
                    self.packet.chunks(inputs), closes, self.plan.scales + channels * closes + follows
                )
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

    def _holds(self, granules: int) -> bool:
        """Whether the two words at hand hold so many."""
        return self.offset + granules < 2 * self.word

    def _group(self, chunks: int, closes: bool, metadata: int) -> None:
        """One group: its chunks through the array, its metadata, its turns in the rescaler."""
        for number in range(chunks):
            last = number + 1 == chunks
            behind = metadata if last else 0
            undivided = self.plan.undivided + behind
            before, end = self.plan.chunk[:-1], self.plan.chunk[-1]
            if self.plan.undivided and self._holds(undivided):
                before, end = (), self.plan.undivided
            for step, granules in enumerate(before):
                self._take(granules, self.taken if step else 0)  # the first one waits apart
            joined = last and self._holds(end + behind)
            when = self._take(end + behind * joined, max(self.taken, self.columns_free if joined else 0))
            begins = max(when, self.taken, self.activations - 1) + 1
            self.taken = begins + self.terms - 1
            if last:
                self._load_metadata(when if joined else None, closes, metadata)
                self._finish_group()

    def _load_metadata(self, joined: int | None, closes: bool, metadata: int) -> None:
        """Scales, channels and selectors go to a register of their own, and on when those before are used."""
        parts = [min(self.word, metadata - start) for start in range(0, metadata, self.word)]
        if len(parts) == 2 and self._holds(metadata):
            parts = [metadata]
        when = joined
        for granules in () if joined is not None else parts:
            when = self._take(granules, self.columns_free)
        assert when is not None
        # ``turn_end`` is still that of the group before, ``scales_leave`` when its scales left the unpacker.
        waits = self.config.waiting_groups
        offered = max(when + 1, self.scales_leave if waits else self.turn_end) + 1
        self.scales_leave = max(offered, self.turn_end)
        self.scales_at = self.scales_leave + 1 if waits else offered
        moved = max(offered, self.channels_free + 1 if closes else 0)
        self.columns_free = max(moved, when + 2)

    def _finish_group(self) -> None:
        """The last term waits for a place behind it; then the rows take their turns."""
        latency = array.dots_latency(self.config)
        last_term, last_turn = self.groups[0]  # of the group whose place this one takes
        self.taken = max(self.taken, last_term + latency + 1, last_turn - array.CAPTURE_LATENCY + 1)
        begins = max(self.taken + latency, self.scales_at, self.turn_end + 1)
        self.turn_end = begins + self.turns - 1
        self.groups.append((self.taken, self.turn_end))
