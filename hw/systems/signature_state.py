"""Signature state: the registers of a request that representatives are chosen for."""

from amaranth.hdl import Signal
from amaranth.lib import enum

from hw.systems.distance_table import AMOUNT_BITS, DISTANCES
from hw.systems.payloads import SIGNATURE_BITS, signature_request

__all__ = ["Pass", "SignatureState"]


class Pass(enum.Enum, shape=2):
    """What all signatures are read for."""

    BITS = 0
    DISTANCES = 1
    CHOICE = 2


class SignatureState:
    """Registers: what is known of a request.

    Attributes:
        request: the request.
        error: it is no legal one.
        purpose: of the present pass.
        point: the anchor.
        mask: bits of signatures that count.
        row: of a memory that is cleared or read.
        left: tokens that are still to be read, a word's at a time.
        lane: the next one of a word.
        opens: the word is a pass' first one.
        members: tokens of this pass that count so far.
    """

    def __init__(self, lanes: int) -> None:
        self.request = Signal(signature_request, reset_less=True)
        self.error = Signal(reset_less=True)
        self.purpose = Signal(Pass, reset_less=True)
        self.point = Signal(SIGNATURE_BITS, reset_less=True)
        self.mask = Signal(SIGNATURE_BITS, reset_less=True)
        self.row = Signal(range(DISTANCES), reset_less=True)
        self.left = Signal(AMOUNT_BITS, reset_less=True)
        self.lane = Signal(range(lanes))
        self.opens = Signal(reset_less=True)
        self.members = Signal(AMOUNT_BITS, reset_less=True)
