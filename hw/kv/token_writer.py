"""Token writer: tokens of float16 keys or values to bytes of their window in memory.

Meaning: ``golden.kv.window.append``. A token is a page of one token to the parts of the quantiser. Nothing
stays in the circuit, so it serves any number of layers, heads and sequences, token by token.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory, ReadPort
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from hw.config import Config
from hw.kv.appending import token_scales
from hw.kv.appending.slot_filler import SlotFiller
from hw.kv.appending.token import GROUP, beats_of_group, most_groups, of_tokens, one_token
from hw.kv.appending.token_codes import LATENCY, PACE, TokenCodes
from hw.kv.appending.token_places import TokenPlaces, window_bytes
from hw.kv.appending.token_scales import TokenScales
from hw.kv.page_shape import beats, last_beat
from hw.kv.payloads import HALF_BITS, WindowPage, element_beat, token_record, window_write
from hw.kv.quantising import statistics
from hw.kv.quantising.code_lane import group_parameters
from hw.kv.quantising.largest_field import LargestField
from hw.kv.quantising.page_stage import FLAGS, PageStage

__all__ = ["FLAGS", "TokenWriter", "token_cycles", "token_latency"]


class TokenWriter(wiring.Component):
    """Write token after token.

    A token arrives in D / ``kv.lanes`` cycles and leaves in ``token_cycles``; both overlap for two tokens.
    The last write comes ``token_latency`` cycles after the last element. Stalled writes stop the codes, but
    not the elements of the next token, nor its first scale.

    Its writes are whole words of the copy, pieces of codes, then its scales and minima: none depends on what
    is in memory, and a token that is written once more leaves the same bytes. Numbers that are not finite
    count as the largest finite ones of their sign, in the copy too.

    Members:
        tokens (in stream): of every token, ahead of its elements: side, channels (in 16ths, a multiple of
            32), its place in the page, and ``top``.
        elements (in stream): channels in order, ``last`` with the token's last beat.
        writes (out stream): bytes of the two pages of the window; ``last`` with the token's last ones, which
            bring ``top``, raised to the token's own steps and offsets.
        clamped (out): one cycle for a beat with an infinity or a NaN.
        error_format, error_short, error_long (out): one cycle for a token with impossible channels, or with
            fewer or more elements than they say; it is left out.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "tokens": In(stream.Signature(token_record(config))),
                "elements": In(stream.Signature(element_beat(config))),
                "writes": Out(stream.Signature(window_write(config))),
                **dict.fromkeys(FLAGS, Out(1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, lanes, word = self.config, self.config.kv.lanes, self.config.memory_bits // 8
        piece = min(max(config.rows, config.lanes), word)
        size = window_bytes(config)
        m.submodules.stage = stage = PageStage(one_token(config), of_tokens(config))
        m.submodules.scales = scales = TokenScales(config)
        m.submodules.codes = TokenCodes(config)
        m.submodules.places = TokenPlaces(config)
        m.submodules.largest = LargestField()
        m.submodules.copy = SlotFiller(2 * lanes, word, size // word)
        m.submodules.pieces = SlotFiller(max(lanes, 2), piece, size // piece)
        connect(m, flipped(self.tokens), stage.formats)
        connect(m, flipped(self.elements), stage.elements)
        m.d.comb += [getattr(self, flag).eq(getattr(stage, flag)) for flag in FLAGS]
        m.d.comb += [
            scales.form.eq(stage.form),
            scales.full.eq(stage.full),
            scales.done.eq(stage.done),
            scales.entry.eq(stage.entry),
            stage.address.eq(scales.address),
        ]

        busy = Signal()  # a token is being written
        closing = Signal()  # only its last slot is left
        advance = Signal()
        read = self._read(m, busy, advance)
        numbers = self._numbers(m)
        self._copy(m, read, advance)
        self._fill(m, advance, numbers, closing)
        self._send(m, closing)
        with m.If(m.submodules.places.load):
            m.d.sync += busy.eq(1)
        with m.Elif(closing & m.submodules.pieces.slots.ready):
            m.d.sync += busy.eq(0)
        return m

    def _read(self, m: Module, busy: Value, advance: Value) -> Value:
        """Beats of elements to the code lanes; a group's first one when its parameters are there."""
        stage, groups, codes = m.submodules.stage, m.submodules.scales.results, m.submodules.codes
        beat = Signal(range(beats(self.config)))
        pace = Signal(range(PACE))
        opens = Signal()
        read = Signal()
        parameters = Signal(group_parameters, reset_less=True)
        there = groups.valid & ((beat != 0) | ~busy)
        m.d.comb += [
            opens.eq((beat & beats_of_group(self.config) - 1) == 0),
            read.eq(advance & (pace == 0) & (~opens | there)),
            groups.ready.eq(read & opens),
            stage.read.eq(read),
            stage.beat.eq(beat),
            stage.done.eq(read & (beat == last_beat(stage.form, self.config))),
            codes.read.eq(read),
            codes.advance.eq(advance),
            codes.elements.eq(stage.beat_elements),
            codes.parameters.eq(parameters),
        ]
        with m.If(read):
            m.d.sync += [beat.eq(Mux(stage.done, 0, beat + 1)), pace.eq(PACE - 1)]
            with m.If(opens):
                m.d.sync += parameters.eq(groups.payload.parameters)
        with m.Elif(advance & (pace != 0)):
            m.d.sync += pace.eq(pace - 1)
        places, largest = m.submodules.places, m.submodules.largest
        m.d.comb += [
            places.load.eq(read & (beat == 0)),
            places.record.eq(stage.record),
            largest.load.eq(places.load),
            largest.before.eq(stage.record.top),
        ]
        with m.If(read):
            m.d.sync += places.copied.eq(beat)
        return read

    def _numbers(self, m: Module) -> ReadPort:
        """Scales and minima wait in a memory, which the walk looks up a cycle ahead."""
        groups, row = m.submodules.scales.results, HALF_BITS * 2
        m.submodules.numbers = memory = Memory(shape=row, depth=most_groups(self.config), init=[])
        write = memory.write_port()
        read = memory.read_port()
        m.d.comb += [
            write.addr.eq(groups.payload.group),
            write.data.eq(Cat(groups.payload.parameters.scale, groups.payload.minimum)),
            write.en.eq(groups.valid & groups.ready),
        ]
        return read

    def _copy(self, m: Module, read: Value, advance: Value) -> None:
        """Elements as they are, in the cycle after they are looked up."""
        copy, pieces, places = m.submodules.copy, m.submodules.pieces, m.submodules.places
        looks = Signal()
        m.d.comb += advance.eq(copy.beats.ready & pieces.beats.ready)
        with m.If(advance):
            m.d.sync += looks.eq(read)
        m.d.comb += [
            copy.beats.valid.eq(looks & pieces.beats.ready),
            copy.beats.payload.address.eq(places.copy_address),
            Value.cast(copy.beats.payload.data).eq(Value.cast(m.submodules.stage.beat_elements)),
            copy.beats.payload.enables.eq(-1),
            copy.beats.payload.last.eq(places.last_copied),
        ]

    def _fill(self, m: Module, advance: Value, numbers: ReadPort, closing: Signal) -> None:
        """Codes of a token, then its scales and its minima."""
        codes, places, largest = m.submodules.codes, m.submodules.places, m.submodules.largest
        beats = m.submodules.pieces.beats
        item = beats.payload
        size = len(item.enables)
        fine = exact_log2(size)
        group = Signal.like(places.group)
        number = Signal(HALF_BITS)
        next_group = Signal.like(group)
        m.d.comb += [
            number.eq(numbers.data.word_select(places.minimum, HALF_BITS)),
            places.group.eq(group),
            next_group.eq(Mux(places.last_group, 0, group + 1)),
            numbers.addr.eq(group),
            largest.number.eq(number),
        ]
        with m.FSM(name="filling"):
            with m.State("codes"):
                code = Value.cast(codes.codes)
                lane = places.code_address[:fine] if self.config.kv.lanes == 1 else 0
                m.d.comb += [
                    beats.valid.eq(codes.valid & m.submodules.copy.beats.ready),
                    item.address.eq(places.code_address >> fine),
                    Value.cast(item.data).eq(code.replicate(8 * size // len(code))),
                    item.enables.eq((1 << lane) if self.config.kv.lanes == 1 else -1),
                    item.last.eq(places.ends),
                ]
                with m.If(codes.valid & advance):
                    m.d.sync += places.coded.eq(Mux(places.last_coded, 0, places.coded + 1))
                    with m.If(places.last_coded):
                        m.next = "scales"
            for state, following in (("scales", "minima"), ("minima", "last")):
                with m.State(state):
                    m.d.comb += [
                        beats.valid.eq(1),
                        places.minimum.eq(state == "minima"),
                        largest.take.eq(beats.ready),
                        item.address.eq(places.number_address >> fine - 1),
                        Value.cast(item.data).eq(number.replicate(size // 2)),
                        item.enables.eq(0b11 << (places.number_address[: fine - 1] << 1)),
                        item.last.eq(places.last_group),
                    ]
                    with m.If(beats.ready):
                        m.d.comb += numbers.addr.eq(next_group)
                        m.d.sync += group.eq(next_group)
                        with m.If(places.last_group):
                            m.next = following
            with m.State("last"):
                m.d.comb += closing.eq(1)
                with m.If(m.submodules.pieces.slots.ready):
                    m.next = "codes"

    def _send(self, m: Module, closing: Value) -> None:
        """Words of the copy and pieces through the output register, the copy first."""
        copy, pieces, written = m.submodules.copy.slots, m.submodules.pieces.slots, self.writes.payload
        room = Signal()
        size = len(pieces.payload.enables)
        parts = len(written.enables) // size  # of a word
        inner = exact_log2(parts)
        last = Signal()
        m.d.comb += [
            room.eq(~self.writes.valid | self.writes.ready),
            copy.ready.eq(room),
            pieces.ready.eq(room & ~copy.valid),
            last.eq(closing & ~copy.valid),
        ]
        piece = Value.cast(pieces.payload.data)
        enables = Cat(
            Mux(pieces.payload.address[:inner] == part, pieces.payload.enables, 0) for part in range(parts)
        )
        with m.If(room):
            m.d.sync += [
                self.writes.valid.eq(copy.valid | pieces.valid),
                written.page.eq(Mux(copy.valid, WindowPage.COPY, WindowPage.CODED)),
                written.word.eq(Mux(copy.valid, copy.payload.address, pieces.payload.address[inner:])),
                written.data.eq(Mux(copy.valid, Value.cast(copy.payload.data), piece.replicate(parts))),
                written.enables.eq(Mux(copy.valid, copy.payload.enables, enables)),
                written.last.eq(last),
                written.top.eq(Mux(last, m.submodules.largest.largest, 0)),
            ]


def token_cycles(config: Config, channels: int) -> int:
    """Cycles from one token's last write to that of the next one, as long as it, without stalls.

    Args:
        config: the writer's configuration.
        channels: of both.
    """
    group = PACE * beats_of_group(config)
    between = max(group, token_scales.CYCLES) * (channels // GROUP - 1)
    return token_scales.CYCLES + between + group - PACE + 1


def token_latency(config: Config, channels: int) -> int:
    """Cycles from a token's last element to its last write, without stalls, no other token ahead of it.

    Args:
        config: the writer's configuration.
        channels: of the token.
    """
    arrives = statistics.latency(config) + 2
    return arrives + token_cycles(config, channels) + LATENCY + 2 * (channels // GROUP)
