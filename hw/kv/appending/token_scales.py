"""Token scales: scale and minimum of one group of a token after the other, ahead of its codes."""

from amaranth.hdl import Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.config import Config
from hw.kv.appending.token import GROUP, most_groups, one_token
from hw.kv.appending.token_codes import SPARE
from hw.kv.formats import Kind
from hw.kv.page_shape import entries, entry_address
from hw.kv.payloads import HALF_BITS, page_format
from hw.kv.quantising import group_scale
from hw.kv.quantising.code_lane import group_parameters
from hw.kv.quantising.group_scale import GroupScale
from hw.kv.quantising.group_walk import GroupWalk
from hw.kv.quantising.statistics import SUM_BITS, extremes
from hw.kv.quantising.window_adder import WindowAdder

__all__ = ["CYCLES", "TokenScales", "token_group"]

CYCLES = group_scale.cycles(Kind.AFFINE) + 1
"""From one group to the next one; also from ``full`` to the first one."""


def token_group(config: Config) -> data.StructLayout:
    """A group of a token: which one, its minimum, and its scale among what the code lanes need."""
    return data.StructLayout(
        {"group": range(most_groups(config)), "minimum": HALF_BITS, "parameters": group_parameters}
    )


class TokenScales(wiring.Component):
    """Work out token after token, a group ahead.

    Members:
        form (in): of the token, held.
        full, done (in): a token is there; it is not needed any more, after its last group.
        address (out), entry (in): a group's statistics, a cycle later.
        results (out stream): its groups in order.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "form": In(page_format(config)),
                "full": In(1),
                "done": In(1),
                "address": Out(range(entries(one_token(config)))),
                "entry": In(SUM_BITS),
                "results": Out(stream.Signature(token_group(config))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        one = one_token(self.config)
        m.submodules.groups = groups = GroupWalk(one)
        m.submodules.scale = scale = GroupScale(self.config)
        m.submodules.adder = adder = WindowAdder()
        low, _ = extremes(self.entry)
        m.d.comb += [
            groups.form.eq(self.form),
            groups.advance.eq(self.results.valid & self.results.ready),
            self.address.eq(entry_address(self.form, groups.token, groups.channel, one)),
            scale.form.eq(self.form),
            scale.kind.eq(Kind.AFFINE),
            scale.spare.eq(SPARE),
            scale.entries.payload.eq(self.entry),
            adder.addend.eq(scale.addend),
            adder.offset.eq(scale.offset),
            adder.look.eq(1),
            adder.count.eq(scale.count),
            scale.sum.eq(adder.sum),
            self.results.valid.eq(scale.parameters.valid),
            scale.parameters.ready.eq(self.results.ready),
            self.results.payload.group.eq(groups.channel >> exact_log2(GROUP)),
            self.results.payload.minimum.eq(low),
            self.results.payload.parameters.eq(scale.parameters.payload),
        ]
        with m.FSM(name="scaling"):
            with m.State("token"):
                m.d.comb += groups.restart.eq(1)
                with m.If(self.full):
                    m.next = "entry"
            with m.State("entry"):  # while the memory looks it up
                m.next = "group"
            with m.State("group"):
                m.d.comb += scale.entries.valid.eq(1)
                with m.If(groups.advance):
                    m.next = "entry"
                    with m.If(groups.last):
                        m.next = "codes"
            with m.State("codes"), m.If(self.done):
                m.next = "token"
        return m
