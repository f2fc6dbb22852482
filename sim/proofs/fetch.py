"""Properties of the fetch: every command of the ring is asked for and given out once and in order."""

from amaranth.hdl import Assert, Assume, Cat, Module, Mux, ResetSignal, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In

from golden.core.commands import Opcode
from hw.config import Config
from hw.core import payloads
from hw.core.fetch import Fetch
from hw.core.payloads import Status, operands, words_of_line
from sim.proofs.accesses import Constant, Stays
from sim.proofs.attention import InOrder

__all__ = ["GIVEN", "CommandsInOrder"]

_RING = 2
"""Bits of the ring's size."""
_ASKED = 2
"""Commands that the memory has not answered, at most."""
_INSIDE = 2
"""Commands that were read and not taken, at most."""
GIVEN = 3
"""Commands that were given out and are not complete, at most, of a fetch that is small enough for proofs."""


class CommandsInOrder(wiring.Component):
    """Commands from memory to the dispatcher, in rings of up to three of them.

    A solver chooses the ring, its tail, whatever memory answers, stalls, positions, and when commands are
    complete. Claimed:

    * the k-th command that is asked for is the one at place k modulo the ring's size;
    * every command read is given out once and in order; one that memory refused is given out as such, and no
      other is;
    * what is offered stays until it is taken;
    * at most three commands are given out and not complete;
    * while a BEGIN or ADVANCE is executed none is offered;
    * of the MATVECs that are to be executed each has had its packet asked for when it is given out, and at
      most the one behind it too.

    Commands are told apart by their last bit.

    Members:
        line, size (in): of the ring, constant.
        enable, tail, position, prompted (in): any.
        word, outside, failed (in): of an answer, any.
        takes_request, words_valid, takes_command, takes_weights, completes, pick (in): any.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        names = ("enable", "outside", "failed", "takes_request", "words_valid")
        names += ("takes_command", "takes_weights", "completes", "pick")
        super().__init__(
            {
                "line": In(payloads.LINE_BITS),
                "size": In(_RING),
                "tail": In(32),
                "position": In(32),
                "prompted": In(1),
                "word": In(config.memory_bits),
                **{name: In(1) for name in names},
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.fetch = own = Fetch(self.config)
        m.submodules.ring = Constant(self.line, self.size)
        m.d.comb += [
            Assume(~ResetSignal()),
            Assume(self.size != 0),
            own.line.eq(self.line),
            own.size.eq(self.size),
            own.enable.eq(self.enable),
            own.tail.eq(self.tail),
            own.position.eq(self.position),
            own.prompted.eq(self.prompted),
            own.commands.ready.eq(self.takes_command),
            own.weights.ready.eq(self.takes_weights),
        ]
        weights, commands = own.weights, own.commands
        m.submodules.packets_stay = Stays(weights.valid, weights.ready, [weights.p.line])
        bits, status = commands.p.bits, commands.p.status
        m.submodules.commands_stay = Stays(commands.valid, commands.ready, [bits[-1], status])
        asked = self._asked(m, own)
        enters, entering = self._read(m, own, asked)
        m.submodules.order = order = InOrder(2, _INSIDE)
        refused = (status == Status.OUTSIDE) | (status == Status.BUS_ERROR)
        m.d.comb += [
            order.enters.eq(enters),
            order.entering.eq(entering),
            order.leaves.eq(commands.valid & commands.ready),
            order.leaving.eq(Cat(bits[-1], refused)),
            order.pick.eq(self.pick),
        ]
        self._given(m, own)
        return m

    def _asked(self, m: Module, own: Fetch) -> Value:
        """Claim which commands are asked for; returns that one is."""
        place, line = Signal(_RING), Signal.like(self.line, name="own_line")
        request = own.requests
        asked = request.valid & request.ready
        m.d.comb += [
            line.eq(self.line + place),
            Assert(~request.valid | (request.p.line == line)),
            Assert(~request.valid | (request.p.words == words_of_line(self.config))),
        ]
        with m.If(asked):
            m.d.sync += place.eq(Mux(place + 1 == self.size, 0, place + 1))
        return asked

    def _read(self, m: Module, own: Fetch, asked: Value) -> tuple[Value, Value]:
        """Answer in order; returns that a command has been read, and its tag with whether it is lost."""
        words = words_of_line(self.config)
        waiting, part, lost = Signal(range(_ASKED + 1)), Signal(range(words)), Signal()
        answer = own.words
        read, last, fails, enters = (Signal(name=name) for name in ("read", "last", "fails", "enters"))
        m.d.comb += [
            own.requests.ready.eq(self.takes_request & (waiting != _ASKED)),
            answer.valid.eq(self.words_valid & (waiting != 0)),
            answer.p.data.eq(self.word),
            answer.p.outside.eq(self.outside),
            answer.p.failed.eq(self.failed),
            last.eq(part == words - 1),
            answer.p.last.eq(last),
            read.eq(answer.valid & answer.ready),
            fails.eq(lost | self.outside | self.failed),
            enters.eq(read & last),
        ]
        m.d.sync += waiting.eq(waiting + asked - enters)
        with m.If(read):
            m.d.sync += [part.eq(Mux(last, 0, part + 1)), lost.eq(fails & ~last)]
        return enters, Cat(self.word[-1] & ~fails, fails)

    def _given(self, m: Module, own: Fetch) -> None:
        """Claim what is given out, and complete it in any time."""
        commands = own.commands
        command = data.View(operands(Opcode.NOP), commands.p.bits)
        executes = commands.p.status == Status.DONE
        taken = Signal()
        incomplete, moving = Signal(range(GIVEN + 2)), Signal()
        ahead = Signal(signed(4))
        moves = (command.opcode == Opcode.BEGIN.value) | (command.opcode == Opcode.ADVANCE.value)
        multiplies = executes & (command.opcode == Opcode.MATVEC.value)
        packets = ahead + own.weights.valid - (commands.valid & multiplies)
        m.d.comb += [
            taken.eq(commands.valid & commands.ready),
            own.completed.eq(self.completes & (incomplete != 0)),
            Assert(incomplete + commands.valid <= GIVEN),
            Assert(~moving | ~commands.valid),
            Assert((packets == 0) | (packets == 1)),
        ]
        asks = own.weights.valid & own.weights.ready
        m.d.sync += [
            incomplete.eq(incomplete + taken - own.completed),
            ahead.eq(ahead + asks - (taken & multiplies)),
        ]
        with m.If(taken & executes & moves):
            m.d.sync += moving.eq(1)
        with m.Elif((incomplete == 1) & own.completed):
            m.d.sync += moving.eq(0)
