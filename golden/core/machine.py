"""The decode core command by command: it leaves the same memory as the circuit, byte for byte.

    machine = Machine(image.with_prompt(tokens), image.symbols, geometry)
    machine.run_token()

What the circuit alone knows, the cycles of a completion, is 0 here.
"""

import functools
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from golden import vector
from golden.core import kv, state
from golden.core.commands import (
    COMMAND_BYTES,
    COMMON,
    COMPLETION_BYTES,
    LINE_BYTES,
    IndexKind,
    Opcode,
    Status,
    decode,
    problem,
)
from golden.core.geometry import Geometry
from golden.core.image import Image, Symbols
from golden.numbers import floats
from golden.pe.matvec import matvec_bits
from golden.weights import layout
from golden.weights.quantized import QuantizedWeights

__all__ = ["Machine", "continuation"]

Fields = dict[str, int]
_LINE_WORDS = LINE_BYTES // 4
_SHAPE = slice(5, 7)  # bytes of a packet's header: rows and lanes


class Machine:
    """A core with its memory.

    Args:
        memory: uint8 [64 * lines], the core's window; it is written to.
        symbols: of the image that the memory began as.
        geometry: of the core.

    Attributes:
        memory: as above.
        scratch: float32 [geometry.scratch].
        position, token, largest: of the present sequence: its position, the token there, the arg-max.
        executed: commands so far.
    """

    def __init__(self, memory: NDArray[np.uint8], symbols: Symbols, geometry: Geometry) -> None:
        self.memory, self.symbols, self.geometry = memory, symbols, geometry
        self.words = memory.view("<u4")
        self.scratch = np.zeros(geometry.scratch, np.float32)
        self.position = self.token = self.largest = 0
        self.sequence = dict.fromkeys((field.name for field in state.SEQUENCE), 0)
        self.first = 0
        self.executed = 0
        self._packet = functools.cache(self._unpacked)
        self._operations: dict[Opcode, Callable[[Fields], tuple[Status, int]]] = {
            Opcode.NOP: lambda fields: (Status.DONE, 0),
            Opcode.BEGIN: self._begin,
            Opcode.GATHER: self._gather,
            Opcode.MATVEC: self._matvec,
            Opcode.APPEND: functools.partial(self._kv, kv.append),
            Opcode.CLOSE: self._close,
            Opcode.ATTEND: functools.partial(self._kv, kv.attend),
            Opcode.VECTOR: self._vector,
            Opcode.ADVANCE: self._advance,
        }

    def run_token(self) -> int:
        """Execute a token's commands, of the sequence whose turn it is; returns the one at its new position.

        Raises:
            ValueError: a command ended with an error.
        """
        first = self.executed
        for number, status in enumerate(self.run()):
            if status.is_error:
                raise ValueError(f"command {first + number} ended with {status.name}")
        return int(self.words[self.sequence["tokens"] * _LINE_WORDS + self.position])

    def run(self) -> list[Status]:
        """Execute a token's commands, as far as an error in one with ``stop`` lets it; returns statuses."""
        statuses = []
        stopped = False
        for _ in range(self.symbols.token_commands):
            flags = self._command()[0]
            if stopped and not flags & _BESIDE:
                break
            statuses.append(self.step())
            stopped |= statuses[-1].is_error and bool(flags & _STOP)
        return statuses

    def _command(self) -> NDArray[np.uint32]:
        """The next command."""
        first = self.symbols.ring + self.executed % self.symbols.commands
        return self.words[first * _LINE_WORDS :][: COMMAND_BYTES // 4]

    def step(self) -> Status:
        """Execute the next command of the ring and write its completion."""
        index = self.executed % self.symbols.commands
        command = self._command().tobytes()
        status, written, identity = problem(command), 0, int(np.frombuffer(command, "<u4")[1])
        if status is None:
            fields = decode(command)
            if self._is_skipped(fields):
                status = Status.SKIPPED
            else:
                status, written = self._operations[Opcode(fields["opcode"])](fields)
        record = np.array([identity, status, written, 0], "<u4").view(np.uint8)
        place = self.symbols.completions * LINE_BYTES + index * COMPLETION_BYTES
        self.memory[place : place + COMPLETION_BYTES] = record
        self.executed += 1
        return status

    def _is_skipped(self, fields: Fields) -> bool:
        given = self.position + 1 < self.sequence["prompt"]
        return self.position & fields["mask"] != fields["phase"] or bool(fields["unprompted"] and given)

    def _inside(self, line: int, length: int) -> bool:
        return line * LINE_BYTES + length <= len(self.memory)

    def _begin(self, fields: Fields) -> tuple[Status, int]:
        if not self._inside(fields["sequence"], LINE_BYTES):
            return Status.OUTSIDE, 0
        line = self.words[fields["sequence"] * _LINE_WORDS :][:_LINE_WORDS]
        found = state.field_values(line, state.SEQUENCE)
        if found["model_low"] | found["model_high"] << 32 != self.symbols.identity:
            return Status.IDENTITY, 0
        self.sequence, self.first = found, fields["sequence"]
        self.position = self.sequence["position"]
        line = _wrapped(self.sequence["tokens"] + self.position // _LINE_WORDS)
        if not self._inside(line, LINE_BYTES):
            return Status.OUTSIDE, 0
        self.token = int(self.words[line * _LINE_WORDS + self.position % _LINE_WORDS])
        return Status.DONE, 0

    def _gather(self, fields: Fields) -> tuple[Status, int]:
        rows = {IndexKind.FIRST: 0, IndexKind.TOKEN: self.token, IndexKind.POSITION: self.position}
        if fields["index"] not in set(IndexKind) or not fields["elements"] or not self._fits(fields):
            return Status.BAD_FIELD, 0
        kind = np.dtype("<f4" if fields["single"] else "<f2")
        line = _wrapped(fields["table"] + rows[IndexKind(fields["index"])] * fields["pitch"])
        length = fields["elements"] * kind.itemsize
        if not self._inside(line, -(-length // self.geometry.word_bytes) * self.geometry.word_bytes):
            return Status.OUTSIDE, 0
        row = self.memory[line * LINE_BYTES :][:length].view(kind).astype(np.float32)
        self.scratch[fields["destination"] :][: len(row)] = row
        return Status.DONE, 0

    def _fits(self, fields: Fields, place: str = "destination", length: str = "elements") -> bool:
        return fields[place] + fields[length] <= len(self.scratch)

    def _unpacked(self, packet: int, words: int) -> QuantizedWeights:
        """A packet; weights never change.

        Raises:
            ValueError: it is none, or one of another length or for another array.
        """
        geometry = self.geometry
        own = self.memory[packet * LINE_BYTES :][: words * geometry.word_bytes].tobytes()
        weights = layout.unpack(own)
        again = layout.pack(weights, geometry.rows, geometry.lanes, word_bits=geometry.memory_bits)
        if len(again) != len(own) or again[_SHAPE] != own[_SHAPE]:
            raise ValueError(f"packet of {len(own)} bytes must have {len(again)}")
        return weights

    def _matvec(self, fields: Fields) -> tuple[Status, int]:
        if not fields["elements"] or not self._fits(fields, "source"):
            return Status.BAD_FIELD, 0
        if not fields["arg_max"] and not self._fits(fields, length="rows"):
            return Status.BAD_FIELD, 0
        if not self._inside(fields["packet"], fields["words"] * self.geometry.word_bytes):
            return Status.OUTSIDE, 0
        try:
            weights = self._packet(fields["packet"], fields["words"])
        except ValueError:
            return Status.BAD_PACKET, 0
        if weights.shape[1] != fields["elements"] or (
            not fields["arg_max"] and weights.shape[0] != fields["rows"]
        ):
            return Status.BAD_PACKET, 0
        source = self.scratch[fields["source"] :][: fields["elements"]]
        bits = floats.encode(source, "tf32")
        found, _ = matvec_bits(weights, bits[None], self.geometry, "tf32", "fp32")
        results = floats.decode(found[0], "fp32")
        if not fields["arg_max"]:
            self.scratch[fields["destination"] :][: len(results)] = results
            return Status.DONE, 0
        self.largest = vector.arg_max(results)
        if not fields["logits"]:
            return Status.DONE, 0
        self.words[fields["results"] * _LINE_WORDS :][: len(results)] = found[0]
        return Status.DONE, 4 * len(results)

    def _close(self, fields: Fields) -> tuple[Status, int]:
        return kv.close(self.memory, fields, self.position, self.geometry)

    def _kv(self, operation: Callable, fields: Fields) -> tuple[Status, int]:
        return operation(self.memory, self.scratch, fields, self.position, self.geometry)

    def _vector(self, fields: Fields) -> tuple[Status, int]:
        if not vector.fits(fields, len(self.scratch)):
            return Status.BAD_FIELD, 0
        largest = vector.apply(self.scratch, fields)
        if largest is not None:
            self.largest = largest
        return Status.DONE, 0

    def _advance(self, fields: Fields) -> tuple[Status, int]:
        sequence, first = self.sequence, self.first * _LINE_WORDS
        following, written = self.position + 1, 4
        if following >= sequence["limit"]:
            self.words[first + _STOPPED] = 1
            return Status.FULL, 4
        if following >= sequence["prompt"]:
            self.words[sequence["tokens"] * _LINE_WORDS + following] = self.largest
            written += 4
            if self.largest in (sequence["stop_0"], sequence["stop_1"]):
                self.words[first + _STOPPED] = 1
                written += 4
        self.words[first] = self.position = following
        return Status.DONE, written


_STOP, _BESIDE = (next(field.mask for field in COMMON if field.name == name) for name in ("stop", "beside"))
_STOPPED = next(field.word for field in state.SEQUENCE if field.name == "stopped")


def _wrapped(line: int) -> int:
    """A line as the circuit works it out, modulo 2^32."""
    return line & 0xFFFFFFFF


def continuation(image: Image, prompt: list[int], geometry: Geometry) -> Iterator[int]:
    """Tokens that a core writes behind a prompt, up to one that ends the text, or as there is room for.

    Raises:
        ValueError: the prompt does not fit the image, or a command ended with an error.
    """
    symbols = image.symbols
    machine = Machine(image.with_prompt(prompt), symbols, geometry)
    stopped = machine.words[symbols.sequence * _LINE_WORDS + _STOPPED :][:1]
    for _ in prompt[1:]:
        machine.run_token()
    for _ in range(symbols.limit - len(prompt)):
        token = machine.run_token()
        if stopped.any():
            return
        yield token
