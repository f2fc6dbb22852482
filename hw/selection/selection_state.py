"""Selection state: the registers of a request that the selector works on."""

from amaranth.hdl import Signal
from amaranth.lib import data
from amaranth.utils import bits_for

from hw.selection.histogram_lane import BIN_BITS, PLACES
from hw.selection.payloads import MOST_TOKENS, SHARE_BITS, selection_request

__all__ = ["SelectionState"]


class SelectionState:
    """Registers: what is known of a request.

    Attributes:
        request: the request; the share leaves it bit by bit.
        error: it is no legal one.
        border: score of the border: of the digits those at the places ``known`` are found, the one at
            ``place`` is looked for, those behind it are the last ones that a digit can be.
        totals: the next scan is for the sum of all scores.
        met: the border's bin has been seen in this scan; ``digit`` is its number, otherwise the present one.
        all: all tokens of the border's bin are wanted.
        chooses: the border is known.
        left: tokens that are still to be read.
        step: steps of a calculation that are still to come, less 1.
    """

    def __init__(self) -> None:
        self.request = Signal(selection_request, reset_less=True)
        self.error = Signal(reset_less=True)
        self.border = Signal(data.ArrayLayout(BIN_BITS, PLACES), reset_less=True)
        self.known = Signal(PLACES, reset_less=True)
        self.place = Signal(range(PLACES), reset_less=True)
        self.totals = Signal(reset_less=True)
        self.met = Signal(reset_less=True)
        self.digit = Signal(BIN_BITS, reset_less=True)
        self.all = Signal(reset_less=True)
        self.chooses = Signal()  # low while bins are cleared
        self.left = Signal(bits_for(MOST_TOKENS), reset_less=True)
        self.step = Signal(range(SHARE_BITS + 1), reset_less=True)
