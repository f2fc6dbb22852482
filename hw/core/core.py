"""The decode core: an image in memory in, tokens out.

Meaning: ``golden.core.machine``. A command ring is fetched from memory, and one command at a time executed,
or one beside a product of a matrix; packets of weights are read ahead. Everything between a token's id and
the arg-max happens here.
"""

from collections.abc import Iterable, Mapping

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from golden.core.commands import Function, Opcode
from hw.attention.engine import check_columns
from hw.bus import axi
from hw.bus.register_bank import bus_signature
from hw.config import Config, ConfigurationError
from hw.core.append_unit import AppendUnit
from hw.core.attend_unit import AttendUnit
from hw.core.close_unit import CloseUnit
from hw.core.completions import Completions
from hw.core.dispatcher import UNITS, Dispatcher
from hw.core.fetch import Fetch
from hw.core.gather_unit import GatherUnit
from hw.core.matvec_unit import MatvecUnit
from hw.core.payloads import is_error
from hw.core.read_mover import ReadMover
from hw.core.registers import Registers
from hw.core.scratch import Scratch
from hw.core.sequence_unit import SequenceUnit
from hw.core.write_mover import WriteMover
from hw.pe.tile import Tile
from hw.vector.arg_max import ArgMax
from hw.vector.vector_unit import VectorUnit

__all__ = ["Core"]

_COMMANDS_WAITING = 8  # lines
_PLACES = {opcode: place for place, opcode in enumerate(UNITS)}


class Core(wiring.Component):
    """Decode tokens.

    Members:
        control (in): AXI4-Lite, ``hw.core.registers``.
        memory (out): AXI4 master.
        irq (out): level, as ``IRQ_PENDING`` and ``IRQ_ENABLE`` say.

    Raises:
        ConfigurationError: columns that queries cannot be spread over, a programmable table of weights or
            pages, BitMoD's types on pages, words of memory longer than a line, or scratch words that are
            longer than those of memory or shorter than a beat of results.
    """

    def __init__(self, config: Config) -> None:
        self._MustUse__used = True  # Amaranth would warn of a component that is refused here
        self.config = config = config.changed(attention=True)
        lanes = config.core.lanes
        check_columns(config)
        if config.table:
            raise ConfigurationError("table of a core must be false")
        if config.kv.bitmod:
            raise ConfigurationError("kv.bitmod of a core must be false")
        if config.kv.table:
            raise ConfigurationError("kv.table of a core must be false")
        if config.memory_bits > 512:
            raise ConfigurationError(f"memory_bits {config.memory_bits} of a core must be at most 512")
        if 32 * lanes > config.memory_bits or lanes % config.rescale_units:
            raise ConfigurationError(
                f"core.lanes {lanes} must be a multiple of rescale_units {config.rescale_units},"
                f" at most memory_bits / 32 = {config.memory_bits // 32}"
            )
        super().__init__(
            {
                "control": In(bus_signature()),
                "memory": Out(axi.signature(config.memory_bits)),
                "irq": Out(1),
            }
        )
        self._MustUse__used = False

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.registers = bank = Registers(config)
        m.submodules.fetch = fetch = Fetch(config)
        m.submodules.dispatcher = dispatcher = Dispatcher(config)
        m.submodules.completions = completions = Completions(config)
        units = self._units(m, dispatcher)
        reads, writes = self._memory(m, bank, fetch, completions, units, dispatcher)
        self._scratch(m, units)
        self._tile(m, units, dispatcher)
        self._largest(m, units)
        connect(m, flipped(self.control), bank.bus)
        connect(m, fetch.commands, dispatcher.commands)
        connect(m, dispatcher.records, completions.records)
        m.d.comb += [
            fetch.enable.eq(bank.started),
            dispatcher.restart.eq(bank.start),
            fetch.line.eq(bank.ring_line),
            fetch.size.eq(bank.ring_size),
            fetch.tail.eq(bank.tail),
            units["begin"].model.eq(bank.model),
            fetch.position.eq(units["begin"].position),
            fetch.prompted.eq(units["begin"].prompted),
            fetch.completed.eq(dispatcher.completed),
            completions.line.eq(bank.completion_line),
            completions.size.eq(bank.ring_size),
            completions.answered.eq(writes.answered_completions),
            dispatcher.idle.eq(writes.idle_data),
            dispatcher.outside.eq(writes.outside),
            dispatcher.failed.eq(writes.failed),
            dispatcher.loaded.eq(units["matvec"].loaded),
        ]
        self._report(m, bank, dispatcher, completions, reads, writes)
        return m

    def _report(
        self,
        m: Module,
        bank: Registers,
        dispatcher: Dispatcher,
        completions: Completions,
        reads: ReadMover,
        writes: WriteMover,
    ) -> None:
        """What the registers show and count."""
        events, memory, weights = bank.events, self.memory, reads.words_weights
        weight_word = weights.valid & weights.ready
        record = dispatcher.records
        failed = Signal(name="command_failed")
        busy = Signal()
        m.d.comb += [
            failed.eq(is_error(record.payload.status) & record.valid & record.ready),
            busy.eq(dispatcher.working | dispatcher.commands.valid | ~writes.idle),
            events.busy.eq(busy),
            events.cycle.eq(busy),
            events.halted.eq(dispatcher.halted),
            events.error.eq(failed | writes.outside | writes.failed),
            events.completion.eq(completions.irq),
            events.head.eq(completions.head),
            events.command.eq(dispatcher.completed),
            events.read_word.eq(memory.rvalid & memory.rready),
            events.write_word.eq(memory.wvalid & memory.wready),
            self.irq.eq(bank.irq),
        ]
        # A cycle late, or the array's readiness would be the counters' too.
        m.d.sync += [events.weight_word.eq(weight_word), events.array_wait.eq(busy & ~weight_word)]

    def _units(self, m: Module, dispatcher: Dispatcher) -> dict[str, wiring.Component]:
        """A unit for each operation, told by the dispatcher."""
        config = self.config
        made = {
            "gather": GatherUnit(config),
            "matvec": MatvecUnit(config),
            "append": AppendUnit(config),
            "close": CloseUnit(config),
            "attend": AttendUnit(config),
            "vector": VectorUnit(config),
        }
        sequence = SequenceUnit(config)
        m.submodules.sequence = sequence
        for name, unit in made.items():
            m.submodules[name] = unit
            connect(m, getattr(dispatcher, name), unit.commands)
            connect(m, unit.done, getattr(dispatcher, f"{name}_done"))
        for name in "begin", "advance":
            ended = getattr(dispatcher, f"{name}_done")
            connect(m, getattr(dispatcher, name), getattr(sequence, name))
            m.d.comb += [ended.valid.eq(sequence.done.valid), ended.payload.eq(sequence.done.payload)]
            with m.If(ended.ready):
                m.d.comb += sequence.done.ready.eq(1)
        for name in "append", "close", "attend", "gather":
            m.d.comb += made[name].position.eq(sequence.position)
        m.d.comb += made["gather"].token.eq(sequence.token)
        return made | dict.fromkeys(("begin", "advance"), sequence)

    def _memory(
        self,
        m: Module,
        bank: Registers,
        fetch: Fetch,
        completions: Completions,
        units: Mapping[str, wiring.Component],
        dispatcher: Dispatcher,
    ) -> tuple[ReadMover, WriteMover]:
        """Channels of memory: commands, weights, and data of the unit that works."""
        config = self.config
        words = config.core.waiting_bytes * 8 // config.memory_bits
        depths = {
            "data": words // 2,
            "commands": _COMMANDS_WAITING * 512 // config.memory_bits,
            "weights": words,
        }
        m.submodules.read_mover = reads = ReadMover(config, depths)
        m.submodules.write_mover = writes = WriteMover(config, ["data", "completions"])
        for mover in reads, writes:
            m.d.comb += [
                mover.base.eq(bank.base),
                mover.limit.eq(bank.limit),
            ]
        m.d.comb += axi.joined(reads.axi, writes.axi, self.memory)
        connect(m, fetch.requests, reads.requests_commands)
        connect(m, reads.words_commands, fetch.words)
        connect(m, fetch.weights, reads.requests_weights)
        connect(m, reads.words_weights, units["matvec"].words)
        connect(m, completions.writes, writes.writes_completions)
        readers = {name: units[name] for name in ("begin", "gather", "append", "close", "attend")}
        _join(m, (unit.requests for unit in readers.values()), reads.requests_data)
        words = reads.words_data
        for name, unit in readers.items():
            mine = dispatcher.active[_PLACES[Opcode[name.upper()]]]
            m.d.comb += [
                unit.words.valid.eq(words.valid & mine),
                unit.words.payload.eq(words.payload),
            ]
            with m.If(mine):
                m.d.comb += words.ready.eq(unit.words.ready)
        writers = (units[name] for name in ("advance", "matvec", "append", "close"))
        _join(m, (unit.writes for unit in writers), writes.writes_data)
        return reads, writes

    def _scratch(self, m: Module, units: Mapping[str, wiring.Component]) -> None:
        """Scratch memory for all units."""
        readers = ("matvec", "append", "attend", "vector")
        writers = ("gather", "matvec", "attend", "vector")
        m.submodules.scratch = scratch = Scratch(self.config, readers, writers)
        for name in readers:
            connect(m, units[name].scratch_read, getattr(scratch, f"read_{name}"))
        for name in writers:
            connect(m, units[name].scratch_write, getattr(scratch, f"write_{name}"))
        others = (units[name].scratch_write for name in writers if name != "matvec")
        m.d.comb += units["matvec"].scratch_taken.eq(Cat(port.enables.any() for port in others).any())

    def _tile(self, m: Module, units: Mapping[str, wiring.Component], dispatcher: Dispatcher) -> None:
        """The array serves weights, or keys and values."""
        m.submodules.tile = tile = Tile(self.config)
        attending = dispatcher.active[_PLACES[Opcode.ATTEND]]
        attends = Signal()  # a cycle later; neither unit has anything for the tile in that cycle
        matvec, attend = units["matvec"], units["attend"]
        m.d.sync += attends.eq(attending)
        m.d.comb += [
            tile.settled.eq(attend.settled),
            matvec.vector_valid.eq(tile.vector_valid),
            matvec.vector_beats.eq(tile.vector_beats),
            matvec.vector_groups.eq(tile.vector_groups),
        ]
        connect(m, tile.dots, attend.dots)
        for name in "beats", "passes", "chunks", "scales", "channels":
            sink, mine, other = getattr(tile, name), getattr(attend, name), getattr(matvec, name)
            m.d.comb += [
                sink.valid.eq(Mux(attends, mine.valid, other.valid)),
                sink.payload.eq(Mux(attends, _bits(mine), _bits(other))),
                mine.ready.eq(sink.ready & attends),
                other.ready.eq(sink.ready & ~attends),
            ]
        # Codes are so many wires that the register which chooses them would be late for all others.
        codes = (unit.chunks.payload.codes.as_value() for unit in (attend, matvec))
        m.d.comb += tile.chunks.payload.codes.eq(Mux(attending, *codes))
        results = tile.results
        m.d.comb += [
            matvec.results.payload.eq(results.payload),
            attend.results.payload.eq(results.payload),
            matvec.results.valid.eq(results.valid & ~attends),
            attend.results.valid.eq(results.valid & attends),
            results.ready.eq(Mux(attends, attend.results.ready, matvec.results.ready)),
        ]

    def _largest(self, m: Module, units: Mapping[str, wiring.Component]) -> None:
        """The token that the last arg-max has found, of results or of a vector.

        It is there three cycles after the last result, just before ADVANCE can look at it: that decides four
        cycles after a result that no logit to memory follows.
        """
        m.submodules.arg_max = search = ArgMax(self.config.rescale_units)
        vector = units["vector"]
        found = Signal(32, name="largest")
        searching = Signal()
        connect(m, units["matvec"].logits, search.numbers)
        m.d.comb += [search.largest.ready.eq(1), units["advance"].largest.eq(found)]
        with m.If(search.largest.valid):
            m.d.sync += found.eq(search.largest.payload.index)
        with m.If(vector.commands.valid & vector.commands.ready):
            m.d.sync += searching.eq(vector.commands.payload.function == Function.ARG_MAX)
        with m.If(vector.done.valid & vector.done.ready & searching):
            m.d.sync += found.eq(vector.largest)


def _bits(source: wiring.PureInterface) -> Value:
    """The payload of a stream as bits."""
    return Value.cast(source.payload)


def _join(m: Module, sources: Iterable[wiring.PureInterface], sink: wiring.PureInterface) -> None:
    """Streams of which at most one has something at a time."""
    for source in sources:
        m.d.comb += source.ready.eq(sink.ready)
        with m.If(source.valid):
            m.d.comb += [sink.valid.eq(1), sink.payload.eq(source.payload)]
