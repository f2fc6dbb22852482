"""The whole core on the simulated RTL: what it does with commands, packets, pages and memory that are bad.

Every case is an image in which one thing is wrong. The circuit's completions and all of its memory equal the
golden machine's, up to the command that fails and stops both.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from golden.checkpoint import Checkpoint
from golden.compile import compiled
from golden.core import geometry
from golden.core.commands import COMMAND_BYTES, COMMON, LINE_BYTES, OPERATIONS, Field, Opcode, Status, encode
from golden.core.image import Image
from golden.core.machine import Machine
from golden.core.state import HEAD, SEQUENCE
from hw.config import preset
from hw.core.core import Core
from hw.core.registers import TABLE
from sim import runner, toolchain
from sim.core import (
    CommandFailed,
    Driver,
    Response,
    Session,
    Simulation,
    SimulationError,
    Timing,
    build_core,
    memory_bytes,
)

Memory = NDArray[np.uint8]
Damage = Callable[["Bad"], None]

_CYCLES = 400_000
_TOKENS = [5, 7]


class Bad:
    """An image in which something can be made wrong.

    Attributes:
        words: uint32, the memory.
    """

    def __init__(self, image: Image) -> None:
        self.image, self.memory = image, image.with_prompt(_TOKENS)
        self.words = self.memory.view("<u4")

    def command(self, opcode: Opcode, number: int = 0) -> int:
        """First word of the ``number``-th command of a kind."""
        symbols = self.image.symbols
        ring = self.memory[symbols.ring * LINE_BYTES :][: symbols.commands * COMMAND_BYTES]
        places = np.flatnonzero(ring.reshape(-1, COMMAND_BYTES)[:, 0] == opcode)
        return symbols.ring * (LINE_BYTES // 4) + int(places[number]) * (COMMAND_BYTES // 4)

    def set(self, first: int, field: Field, value: int) -> None:
        """Give a field of the words from ``first`` on a value."""
        word = self.words[first + field.word] & np.uint32(~field.mask & 0xFFFFFFFF)
        self.words[first + field.word] = word | np.uint32(value << field.low)

    def get(self, first: int, field: Field) -> int:
        """Value of such a field."""
        return int(self.words[first + field.word] & field.mask) >> field.low


def field(opcode: Opcode, name: str) -> Field:
    own = next(operation for operation in OPERATIONS if operation.opcode == opcode)
    return next(each for each in own.fields if each.name == name)


def of(fields: tuple[Field, ...], name: str) -> Field:
    return next(each for each in fields if each.name == name)


def changed(opcode: Opcode, name: str, value: int) -> Damage:
    """The first command of a kind with another value of a field."""
    return lambda bad: bad.set(bad.command(opcode), field(opcode, name), value)


def head(name: str, value: int) -> Damage:
    """The header of the first KV head with another value of a field."""

    def damage(bad: Bad) -> None:
        line = bad.get(bad.command(Opcode.APPEND), field(Opcode.APPEND, "head"))
        bad.set(line * (LINE_BYTES // 4), of(HEAD, name), value)

    return damage


def packet(word: int, bits: int) -> Damage:
    """Bits of a word of the first packet inverted."""

    def damage(bad: Bad) -> None:
        line = bad.get(bad.command(Opcode.MATVEC), field(Opcode.MATVEC, "packet"))
        bad.words[line * (LINE_BYTES // 4) + word] ^= np.uint32(bits)

    return damage


def raw(opcode: Opcode, word: int, bits: int) -> Damage:
    """Bits of a word of the first command of a kind inverted."""

    def damage(bad: Bad) -> None:
        bad.words[bad.command(opcode) + word] ^= np.uint32(bits)

    return damage


def longer(words: int) -> Damage:
    """The first packet's command with more words than the packet has, or fewer."""

    def damage(bad: Bad) -> None:
        place, own = bad.command(Opcode.MATVEC), field(Opcode.MATVEC, "words")
        bad.set(place, own, bad.get(place, own) + words)

    return damage


def sequence(name: str, value: int) -> Damage:
    """The sequence's state with another value of a field."""
    return lambda bad: bad.set(bad.image.symbols.sequence * (LINE_BYTES // 4), of(SEQUENCE, name), value)


FAR = 0xFFFFFFF0

CASES: dict[str, tuple[Damage, Status]] = {
    "opcode": (raw(Opcode.VECTOR, 0, 0x80), Status.BAD_OPCODE),
    "reserved_bits": (raw(Opcode.GATHER, 15, 1 << 31), Status.RESERVED),
    "reserved_of_the_first_word": (raw(Opcode.ATTEND, 0, 1 << 16), Status.RESERVED),
    "unit": (raw(Opcode.GATHER, 5, 4), Status.BAD_FIELD),
    "begin_outside": (changed(Opcode.BEGIN, "sequence", FAR), Status.OUTSIDE),
    "another_model": (sequence("model_high", 7), Status.IDENTITY),
    "tokens_outside": (sequence("tokens", FAR), Status.OUTSIDE),
    "gather_outside": (changed(Opcode.GATHER, "table", FAR), Status.OUTSIDE),
    "gather_of_nothing": (changed(Opcode.GATHER, "elements", 0), Status.BAD_FIELD),
    "gather_beyond_scratch": (changed(Opcode.GATHER, "destination", 1008), Status.BAD_FIELD),
    "gather_index": (changed(Opcode.GATHER, "index", 3), Status.BAD_FIELD),
    "packet_outside": (changed(Opcode.MATVEC, "packet", FAR), Status.OUTSIDE),
    "packet_across_the_end": (changed(Opcode.MATVEC, "words", 1 << 30), Status.OUTSIDE),
    "packet_magic": (packet(0, 0xFF), Status.BAD_PACKET),
    "packet_inputs": (packet(3, 1 << 4), Status.BAD_PACKET),
    "packet_short": (longer(-1), Status.BAD_PACKET),
    "packet_long": (longer(1), Status.BAD_PACKET),
    "vector_of_another_length": (changed(Opcode.MATVEC, "elements", 48), Status.BAD_PACKET),
    "vector_of_nothing": (changed(Opcode.MATVEC, "elements", 0), Status.BAD_FIELD),
    "vector_beyond_scratch": (changed(Opcode.MATVEC, "source", 1008), Status.BAD_FIELD),
    "results_beyond_scratch": (changed(Opcode.MATVEC, "destination", 1008), Status.BAD_FIELD),
    "other_rows": (changed(Opcode.MATVEC, "rows", 496), Status.BAD_PACKET),
    "function": (changed(Opcode.VECTOR, "function", 7), Status.BAD_FIELD),
    "segment": (changed(Opcode.VECTOR, "segment", 48), Status.BAD_FIELD),
    "append_outside": (changed(Opcode.APPEND, "head", FAR), Status.OUTSIDE),
    "append_beyond_scratch": (changed(Opcode.APPEND, "source", 1008), Status.BAD_FIELD),
    "channels": (head("channels", 3), Status.BAD_PAGE),
    "slots": (head("slots", 3), Status.BAD_PAGE),
    "top": (head("key_top", 0), Status.BAD_PAGE),
    "attend_outside": (changed(Opcode.ATTEND, "head", FAR), Status.OUTSIDE),
    "no_queries": (changed(Opcode.ATTEND, "queries", 0), Status.BAD_PAGE),
    "too_many_queries": (changed(Opcode.ATTEND, "queries", 5), Status.BAD_PAGE),
    "full": (sequence("limit", 1), Status.FULL),
}


@pytest.fixture(scope="module")
def library() -> Path:
    return build_core(preset("tiny"))


@pytest.fixture(scope="module")
def image(tiny_file: Checkpoint) -> Image:
    return compiled(str(tiny_file.path), "bitmod4", "int8", "native4_paged", "tiny", 80)


def started(library: Path, image: Image, memory: Memory, timing: Timing | None = None) -> Driver:
    """A core that may begin."""
    simulation = Simulation(library, memory_bytes(image), timing=timing or Timing())
    simulation.confine(0, len(memory) - 1)
    driver = Driver(simulation, len(memory))
    driver.memory[:] = memory
    symbols = image.symbols
    driver.start(symbols.ring, symbols.commands, symbols.completions, symbols.identity)
    return driver


def settle(driver: Driver) -> None:
    """Until the core says nothing more: a write that was refused is told of before its command is."""
    with suppress(SimulationError):
        while True:
            with suppress(CommandFailed):
                driver.wait(_CYCLES // 4)


def ended(driver: Driver) -> list[Status]:
    return [completion.status for completion in driver.completions()]


@pytest.mark.parametrize("name", CASES)
def test_faults(library: Path, image: Image, name: str) -> None:
    damage, status = CASES[name]
    bad = Bad(image)
    damage(bad)
    driver = started(library, image, bad.memory, Timing(latency=30, spread=29, seed=list(CASES).index(name)))
    driver.submit(image.symbols.commands)
    with pytest.raises(CommandFailed):
        driver.wait(_CYCLES)
    settle(driver)
    statuses = ended(driver)

    machine = Machine(bad.memory, image.symbols, geometry.get("tiny"))
    expected = machine.run()
    assert status in expected
    assert statuses == expected
    differing = np.flatnonzero(image.symbols.without_cycles(driver.memory) != machine.memory)
    assert not len(differing)
    driver.simulation.close()


@pytest.mark.parametrize("response", Response)
@pytest.mark.parametrize(
    "part",
    [
        "ring",
        "sequence",
        "turns",
        "layer0.q",
        "layer0.head0",
        "layer0.head0.window",
        "tokens",
        "logits",
    ],
)
def test_bus_errors(library: Path, image: Image, part: str, response: Response) -> None:
    """Memory refuses a part: commands that need it say so, nothing hangs."""
    memory = image.with_prompt(_TOKENS[:1])
    driver = started(library, image, memory)
    first = image.symbols.lines_of[part] * LINE_BYTES
    driver.simulation.fail(first, first + 63, response)
    driver.submit(image.symbols.commands)
    with pytest.raises(CommandFailed):
        driver.wait(_CYCLES)
    settle(driver)
    statuses = ended(driver)
    assert set(statuses) - {Status.DONE, Status.SKIPPED} == {Status.BUS_ERROR}
    driver.simulation.close()


def test_a_prompt_needs_no_logits(library: Path, image: Image) -> None:
    """Within a prompt the output layer is left out, with its words; for its last token it is not."""
    machine = Machine(image.with_prompt([*_TOKENS, 9]), image.symbols, geometry.get("tiny"))
    driver = started(library, image, machine.memory)
    output = Bad(image).command(Opcode.MATVEC, -1)
    words = []
    for skipped in (True, True, False, False):
        before = driver.simulation.counters.read_words
        driver.submit(image.symbols.commands)
        driver.wait(_CYCLES)
        words.append(driver.simulation.counters.read_words - before)
        assert (Status.SKIPPED in ended(driver)[-3:]) is skipped
        machine.run_token()
        assert np.array_equal(image.symbols.without_cycles(driver.memory), machine.memory)
    most = Bad(image).get(output, field(Opcode.MATVEC, "words"))
    assert words == [words[2] - most, words[2] - most, words[2], words[2]]
    driver.simulation.close()


def test_a_refused_sequence_leaves_the_one_before(library: Path, image: Image) -> None:
    """What goes on after its BEGIN works on the sequence that was taken up last."""
    symbols = image.symbols
    machine = Machine(image.with_prompt(_TOKENS), symbols, geometry.get("tiny"))
    driver = started(library, image, machine.memory)
    statuses = []
    for refused in (False, True):
        if refused:
            begin = symbols.ring * (LINE_BYTES // 4)
            for words in (driver.memory.view("<u4"), machine.words):
                own = field(Opcode.BEGIN, "sequence")
                words[begin + own.word] = symbols.logits
                words[begin] &= np.uint32(~of(COMMON, "stop").mask & 0xFFFFFFFF)
        driver.submit(symbols.commands)
        settle(driver)
        statuses = machine.run()
        assert ended(driver) == statuses
        assert np.array_equal(symbols.without_cycles(driver.memory), machine.memory)
    assert statuses[0] == Status.IDENTITY
    assert set(statuses[1:]) == {Status.DONE, Status.SKIPPED}
    assert machine.position == 2
    driver.simulation.close()


def test_lines_wrap(library: Path, image: Image) -> None:
    """A token so large that its row's line is that of another token, modulo 2^32."""
    bad = Bad(image)
    pitch = bad.get(bad.command(Opcode.GATHER), field(Opcode.GATHER, "pitch"))
    bad.words[image.symbols.tokens * (LINE_BYTES // 4)] += np.uint32((1 << 32) // pitch)
    machine = Machine(bad.memory.copy(), image.symbols, geometry.get("tiny"))
    driver = started(library, image, bad.memory)
    driver.submit(image.symbols.commands)
    driver.wait(_CYCLES)
    assert machine.run_token() == _TOKENS[1]
    assert np.array_equal(image.symbols.without_cycles(driver.memory), machine.memory)
    driver.simulation.close()


def test_a_prompt_is_known_behind_advance(library: Path, image: Image) -> None:
    """Without BEGIN, whose place a command has that is skipped within the prompt."""
    machine = Machine(image.with_prompt([*_TOKENS, 9]), image.symbols, geometry.get("tiny"))
    driver = started(library, image, machine.memory)
    command = np.frombuffer(encode(Opcode.NOP, unprompted=1), np.uint8)
    first = []
    for _ in range(4):
        driver.submit(image.symbols.commands)
        driver.wait(_CYCLES)
        machine.run_token()
        first.append(ended(driver)[0])
        assert np.array_equal(image.symbols.without_cycles(driver.memory), machine.memory)
        for memory in (driver.memory, machine.memory):
            memory[image.symbols.ring * LINE_BYTES :][:COMMAND_BYTES] = command
    assert first == [Status.DONE, Status.SKIPPED, Status.DONE, Status.DONE]
    driver.simulation.close()


def test_begin_waits_for_what_advance_writes(library: Path, image: Image) -> None:
    """The next token's first commands are there before the last one of a token is complete."""
    machine = Machine(image.with_prompt(_TOKENS), image.symbols, geometry.get("tiny"))
    driver = started(library, image, machine.memory, Timing(latency=200, spread=150, seed=4))
    early, ready, tokens = 8, 0, 4
    for token in range(tokens):
        driver.submit(image.symbols.commands - ready)
        ready = early if token + 1 < tokens else 0
        complete = 0
        while complete < ready:
            assert not driver.simulation.run(100)
            complete += len(ended(driver))
        if ready:
            driver.submit(ready)
        driver.wait(_CYCLES)
        machine.run_token()
        assert len(ended(driver)) + complete == image.symbols.commands
    assert np.array_equal(image.symbols.without_cycles(driver.memory), machine.memory)
    driver.simulation.close()


@pytest.mark.slow
@pytest.mark.parametrize("tokens", [68])
def test_pages_close(library: Path, image: Image, tokens: int) -> None:
    """The last eight tokens, in which a page leaves the window, on memory that stands still now and then."""
    machine = Machine(image.with_prompt(_TOKENS), image.symbols, geometry.get("tiny"))
    for _ in range(tokens - 8):
        machine.run_token()
    driver = started(library, image, machine.memory, Timing(latency=60, spread=50, stalls=40, seed=3))
    for _ in range(8):
        driver.submit(image.symbols.commands)
        driver.wait(_CYCLES)
        assert set(ended(driver)) <= {Status.DONE, Status.SKIPPED}
        machine.run_token()
    assert np.array_equal(image.symbols.without_cycles(driver.memory), machine.memory)
    driver.simulation.close()


def test_second_memory(image: Image, tmp_path: Path) -> None:
    """Begin, rows, a norm, a packet, a turn and two vectors to the window, on the memory of cocotbext-axi.

    On Icarus, since all other tests run on Verilator.
    """
    if (problem := toolchain.available("icarus")) is not None:
        pytest.skip(f"icarus: {problem}")
    image.save(tmp_path)
    parameters = {"config": preset("tiny").model_dump(), "image": str(tmp_path), "commands": 9}
    design = runner.Design.of_type(Core, preset("tiny"))
    runner.run(design, "sim.benches.core.core", "icarus", parameters)


def one_token(
    library: Path, image: Image, disturb: Callable[[Driver], None], given: int = 0, behind: int = 0
) -> Machine:
    """A token after a disturbance leaves what golden leaves.

    Args:
        library, image: of the core.
        disturb: what happens to a core that works.
        given: commands that it has by then; all of a token's by default.
        behind: tokens before that one.

    Returns:
        Golden behind the token.
    """
    machine = Machine(image.with_prompt(_TOKENS), image.symbols, geometry.get("tiny"))
    for _ in range(behind):
        machine.run_token()
    driver = started(library, image, machine.memory, Timing(latency=20, spread=19, seed=given + 1))
    driver.submit(given or image.symbols.commands)
    disturb(driver)
    if not given:
        driver.wait(_CYCLES)
    machine.run_token()
    assert np.array_equal(image.symbols.without_cycles(driver.memory), machine.memory)
    driver.simulation.close()
    return machine


def resets(image: Image, cycles: list[int]) -> Callable[[Driver], None]:
    """After so many cycles, and again, what was given is given once more; the last time all of it."""
    symbols = image.symbols

    def disturb(driver: Driver) -> None:
        for number, count in enumerate(cycles, 1):
            driver.simulation.run(count)
            driver.simulation.reset()
            driver.start(symbols.ring, symbols.commands, symbols.completions, symbols.identity)
            driver.submit(symbols.commands - (number < len(cycles)))
        driver.wait(_CYCLES)

    return disturb


@pytest.mark.parametrize("cycles", [1, 3_000, 9_000, 17_001, 26_003])
def test_reset(library: Path, image: Image, cycles: int) -> None:
    """At any time: what was appended is appended once more, and leaves the same memory."""
    one_token(library, image, resets(image, [cycles]), given=image.symbols.commands - 1)


def test_resets_where_pages_close(library: Path, image: Image) -> None:
    """Eight, over the first half of a token: pages that were closed, or half of one, are closed once more."""
    cycles = list(range(4_001, 20_001, 2_000))
    machine = one_token(library, image, resets(image, cycles), image.symbols.commands - 1, behind=62)
    ring = machine.memory[image.symbols.ring * LINE_BYTES :][: image.symbols.commands * COMMAND_BYTES]
    closing = ring.reshape(-1, COMMAND_BYTES)[:, 0] == Opcode.CLOSE
    records = machine.words[image.symbols.completions * (LINE_BYTES // 4) :].reshape(-1, 4)
    assert np.count_nonzero(records[: len(closing)][closing, 2]) == 2


def test_resets_in_any_cycle(library: Path, image: Image, rng: np.random.Generator) -> None:
    """Eight, one after the other, wherever the token then is."""
    cycles = rng.integers(1, 30_000, 8).tolist()
    one_token(library, image, resets(image, cycles), given=image.symbols.commands - 1)


def test_memory_stands_still(library: Path, image: Image) -> None:
    def disturb(driver: Driver) -> None:
        for _ in range(3):
            driver.simulation.run(2_500)
            driver.simulation.pause(10_000)

    one_token(library, image, disturb)


def test_registers_while_busy(library: Path, image: Image) -> None:
    """What the core uses was captured or is locked: writes of registers change nothing."""

    def disturb(driver: Driver) -> None:
        offsets = {register.name: register.offset for register in TABLE}
        before = {name: driver.simulation.read(offset) for name, offset in offsets.items()}
        for name, offset in offsets.items():
            if name in ("TAIL", "CONTROL", "IRQ_ENABLE", "IRQ_PENDING"):
                continue
            driver.simulation.run(400)
            assert driver.simulation.write(offset, 0xFFFFFFFF) == Response.SLVERR, name
        for name in ("WINDOW_BASE_LOW", "WINDOW_LIMIT", "RING_LINE", "RING_SIZE", "COMPLETION_LINE"):
            assert driver.simulation.read(offsets[name]) == before[name]

    one_token(library, image, disturb)


def test_tail_in_steps(library: Path, image: Image) -> None:
    """The doorbell is rung while commands work, for a few more each time."""

    def disturb(driver: Driver) -> None:
        left = image.symbols.commands - 5
        while left:
            driver.submit(min(left, 7))
            left -= min(left, 7)
            driver.simulation.run(900)
        driver.wait(_CYCLES)

    one_token(library, image, disturb, given=5)


def test_overlap(library: Path, image: Image) -> None:
    """What works beside a matrix saves 9 % of a token's cycles, and changes nothing else."""
    begin = image.with_prompt(_TOKENS)
    symbols = image.symbols
    alone = begin.copy()
    commands = alone.view("<u4")[symbols.ring * LINE_BYTES // 4 :][: symbols.commands * COMMAND_BYTES // 4]
    commands.reshape(symbols.commands, -1)[:, 0] &= np.uint32(~of(COMMON, "beside").mask & 0xFFFFFFFF)
    cycles = []
    for memory in begin, alone:
        with Simulation(library, memory_bytes(image), timing=Timing(latency=60)) as simulation:
            session = Session(simulation, image, memory)
            cycles.append(session.step().passed.cycles)
            machine = Machine(memory.copy(), symbols, geometry.get("tiny"))
            machine.run_token()
            assert np.array_equal(symbols.without_cycles(session.memory), machine.memory)
    assert cycles[0] < 0.915 * cycles[1], cycles
