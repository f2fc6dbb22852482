"""Signatures: KVCrush's representatives, evenly spaced in the order of Hamming distances, without a sort.

Meaning: ``golden.systems.kvcrush``, ``anchor``, ``distances`` and ``representatives``. A pass over all
signatures counts candidates by distance. From the counts follow the rank of each distance's first token and
how many come ahead of the next one that is chosen. In the last pass each distance counts them down.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import enum, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from golden.systems import kvcrush
from hw.config import Config
from hw.numbers.pipeline import hold
from hw.selection.payloads import MOST_TOKENS, score_lanes, selected_tokens
from hw.selection.token_marks import count_ones
from hw.systems.bit_majority import BitMajority
from hw.systems.distance_table import DISTANCES, DistanceTable
from hw.systems.payloads import (
    SIGNATURE_BITS,
    Anchor,
    representatives_found,
    signature_pass,
    signature_request,
    signature_words,
)
from hw.systems.rank_spacing import RankSpacing, spacing_cycles
from hw.systems.signature_state import Pass, SignatureState

__all__ = ["Signatures", "cycles"]

_STAGES = 3
"""Registers of a token between its word and the bit that says whether it is chosen."""
_PASS_CYCLES = _STAGES + 2
"""Beside those of its signatures: asked for, and after the last one."""
_ANSWER_CYCLES = 2
"""The last word of bits leaves, then the answer."""
_POINTS = {
    kind: sum(int(bit) << place for place, bit in enumerate(kvcrush.anchor(name, SIGNATURE_BITS)))
    for name, kind in ((kind.name.lower(), kind) for kind in Anchor)
    if name in kvcrush.ANCHORS and name != "mean"
}


def cycles(config: Config, tokens: int, amounts: list[int], budget: int, anchor: Anchor) -> int:
    """Cycles from a request to its answer, where its words come and its bits leave at once.

    Args:
        config: of the circuit.
        tokens: at least one.
        amounts: candidates of each distance, in ascending order.
        budget: representatives that are wanted.
        anchor: what distances are taken from.
    """
    lanes = score_lanes(config)
    one_pass = -(-tokens // lanes) * lanes + _PASS_CYCLES
    mean = one_pass + lanes + 1 if anchor is Anchor.MEAN else 0
    return DISTANCES + mean + 2 * one_pass + spacing_cycles(amounts, budget) + _ANSWER_CYCLES


class _Phase(enum.Enum, shape=3):
    """What happens to a request."""

    IDLE = 0
    CLEAR = 1
    ASK = 2
    READ = 3
    SETTLE = 4
    MEAN = 5
    SPACE = 6
    TELL = 7


class Signatures(wiring.Component):
    """Choose a few of the candidates that stand for all of them, spread by signature.

    Of the candidates in ascending order of their signatures' distances from the anchor, those of equal
    distance in the order they come in, every (candidates // budget)-th is chosen, ``budget`` of them.

    A request asks for all signatures twice, ``passes``, and once before these where the anchor is the mean.
    It takes a signature a cycle, whatever they are, and ``cycles`` from request to answer.

    Members:
        requests (in stream): how many are wanted.
        passes (out stream): the signatures of all tokens are wanted, as words.
        signatures (in stream): words of signatures, each pass' from the first token on.
        selected (out stream): the chosen tokens, a word of bits for each word of signatures.
        found (out stream): how many were chosen, once a request and after its bits.
        error_request (out): one of more than 65,536 tokens; high for a cycle.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.lanes = score_lanes(config)
        super().__init__(
            {
                "requests": In(stream.Signature(signature_request)),
                "passes": Out(stream.Signature(signature_pass)),
                "signatures": In(stream.Signature(signature_words(config))),
                "selected": Out(stream.Signature(selected_tokens(config))),
                "found": Out(stream.Signature(representatives_found)),
                "error_request": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.majority = majority = BitMajority(self.config)
        m.submodules.table = table = DistanceTable()
        m.submodules.spacing = spacing = RankSpacing()
        phase = Signal(_Phase)
        state = SignatureState(self.lanes)
        ends, under_way = self._read(m, phase == _Phase.READ, state)
        settled = Signal()
        m.d.comb += settled.eq((phase == _Phase.SETTLE) & ~under_way)
        self._space(m, phase, settled, state)
        with m.Switch(phase):
            with m.Case(_Phase.IDLE), m.If(self.requests.valid):
                self._accept(m, phase, state)
            with m.Case(_Phase.CLEAR):
                m.d.sync += state.row.eq(state.row - 1)
                with m.If(state.row == 0):
                    m.d.sync += phase.eq(_Phase.ASK)
            with m.Case(_Phase.ASK):
                m.d.sync += [state.left.eq(state.request.tokens), state.members.eq(0), state.opens.eq(1)]
                m.d.sync += state.row.eq(0)
                with m.If(self.passes.ready):
                    m.d.sync += phase.eq(_Phase.READ)
            with m.Case(_Phase.READ), m.If(ends):
                m.d.sync += phase.eq(_Phase.SETTLE)
            with m.Case(_Phase.SETTLE), m.If(settled), m.Switch(state.purpose):
                for purpose, follows in zip(Pass, (_Phase.MEAN, _Phase.SPACE, _Phase.TELL), strict=True):
                    with m.Case(purpose):
                        m.d.sync += phase.eq(follows)
            with m.Case(_Phase.MEAN):
                # The places of the row that was asked for in the cycle before come in from above.
                m.d.sync += state.row.eq(state.row + 1)
                m.d.sync += state.point.eq(Cat(state.point[majority.width :], majority.places))
                with m.If(state.row == self.lanes):
                    m.d.sync += [state.purpose.eq(Pass.DISTANCES), phase.eq(_Phase.ASK)]
            with m.Case(_Phase.SPACE), m.If(spacing.done):
                m.d.sync += [state.purpose.eq(Pass.CHOICE), phase.eq(_Phase.ASK)]
            with m.Case(_Phase.TELL), m.If(self.found.ready):
                m.d.sync += phase.eq(_Phase.IDLE)
        with m.If(phase == _Phase.MEAN):
            m.d.comb += majority.row.eq(state.row)
        with m.Else():
            m.d.comb += majority.row.eq(state.lane)
        m.d.comb += [
            self.requests.ready.eq(phase == _Phase.IDLE),
            self.passes.valid.eq(phase == _Phase.ASK),
            self.passes.payload.chooses.eq(state.purpose == Pass.CHOICE),
            self.found.valid.eq(phase == _Phase.TELL),
            self.found.payload.candidates.eq(state.members),
            self.found.payload.count.eq(
                Mux(spacing.some & state.request.tokens.any() & ~state.error, state.request.budget, 0)
            ),
            self.found.payload.error.eq(state.error),
            table.chooses.eq(state.purpose == Pass.CHOICE),
        ]
        return m

    def _accept(self, m: Module, phase: Signal, state: SignatureState) -> None:
        """Take a request, and the anchor unless it is the mean."""
        request = self.requests.payload
        bad = Signal()
        m.d.comb += [bad.eq(request.tokens > MOST_TOKENS), self.error_request.eq(bad)]
        m.d.sync += [
            state.request.eq(request),
            state.error.eq(bad),
            state.purpose.eq(Mux(request.anchor == Anchor.MEAN, Pass.BITS, Pass.DISTANCES)),
            state.point.eq(request.given),
            state.mask.eq(Cat(Const(1), *(request.last_bit >= place for place in range(1, SIGNATURE_BITS)))),
            state.row.eq(DISTANCES - 1),
            state.members.eq(0),
            phase.eq(Mux(bad | (request.tokens == 0), _Phase.TELL, _Phase.CLEAR)),
        ]
        with m.Switch(request.anchor):
            for kind, point in _POINTS.items():
                with m.Case(kind):
                    m.d.sync += state.point.eq(point)

    def _read(self, m: Module, reads: Value, state: SignatureState) -> tuple[Value, Value]:
        """Take words token by token; whether a pass' last one is taken, and whether any is under way."""
        majority, table = m.submodules.majority, m.submodules.table
        word = self.signatures.payload
        place_bits = exact_log2(self.lanes)
        present = Signal(self.lanes)
        advance = Signal()
        taken = Signal()
        closes = Signal()
        last = Signal()
        candidate = Signal()
        counts = state.purpose == Pass.BITS
        whole = state.left[place_bits:].any()
        m.d.comb += [
            taken.eq(self.signatures.valid & reads & advance),
            closes.eq(state.lane == self.lanes - 1),
            last.eq(state.left <= self.lanes),
            self.signatures.ready.eq(reads & advance & closes),
            present.eq(
                Cat(*(whole | (state.left[:place_bits] > place) for place in range(self.lanes - 1)), whole)
            ),
            candidate.eq((word.candidates & present).bit_select(state.lane, 1)),
            majority.signatures.eq(word.signatures),
            majority.counted.eq(word.counted & present),
            majority.takes.eq(taken & counts),
            majority.opens.eq(state.opens),
            majority.members.eq(state.members),
            table.advance.eq(advance),
        ]
        member = Mux(counts, majority.counted.bit_select(state.lane, 1), candidate)
        with m.If(taken):
            m.d.sync += [state.lane.eq(state.lane + 1), state.members.eq(state.members + member)]
            with m.If(closes):
                m.d.sync += [state.left.eq(state.left - self.lanes), state.opens.eq(0)]
        differences = (word.signatures[state.lane] ^ state.point) & state.mask
        difference = hold(m, advance, "difference", differences)
        distance = hold(m, advance, "distance", count_ones(difference))
        candidate = hold(m, advance, "candidate", taken & candidate & ~counts, reset=True)
        m.d.comb += [
            table.distance.eq(distance),
            table.present.eq(hold(m, advance, "counted_candidate", candidate, reset=True)),
        ]
        flags, under_way = [taken, closes, last], self.selected.valid
        for stage in range(_STAGES):
            flags = [
                hold(m, advance, f"{name}_{stage}", flag, reset=name == "taken")
                for name, flag in zip(("taken", "closes", "last"), flags, strict=True)
            ]
            under_way = under_way | flags[0]
        self._leave(m, advance, *flags, state.purpose == Pass.CHOICE)
        return taken & closes & last, under_way

    def _leave(
        self, m: Module, advance: Signal, taken: Value, closes: Value, last: Value, chooses: Value
    ) -> None:
        """Gather the bits of a word, the first one comes to lie at the lowest place."""
        out = self.selected
        full = Signal()
        gathered = Signal(self.lanes)
        before = hold(m, advance & taken, "gathered", gathered)
        m.d.comb += [
            gathered.eq(Cat(before[1:], m.submodules.table.chosen)),
            full.eq(taken & closes & chooses),
            advance.eq(~full | ~out.valid | out.ready),
        ]
        with m.If(out.ready):
            m.d.sync += out.valid.eq(0)
        with m.If(full & advance):
            m.d.sync += [out.valid.eq(1), out.payload.chosen.eq(gathered), out.payload.last.eq(last)]

    def _space(self, m: Module, phase: Value, settled: Value, state: SignatureState) -> None:
        """Rows of the table are cleared, or walked through."""
        table, spacing = m.submodules.table, m.submodules.spacing
        clears = phase == _Phase.CLEAR
        m.d.comb += [
            spacing.starts.eq(settled & (state.purpose == Pass.DISTANCES)),
            spacing.candidates.eq(state.members),
            spacing.budget.eq(state.request.budget),
            spacing.amount.eq(table.amount),
            table.row.eq(Mux(clears, state.row, spacing.row)),
            table.sets.eq(clears | spacing.sets),
            table.value.eq(Mux(clears, Const(0), spacing.gap)),
            table.bounds.eq(spacing.bounds),
            table.quota.eq(spacing.room),
            table.longest.eq(spacing.longest),
        ]
