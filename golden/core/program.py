"""Programs: the commands of a token of a llama model, and the image of memory that they work on.

Heads have a multiple of 32 elements, all vectors a multiple of 16 (``golden.core.commands.UNIT``); whoever
has others fills them up with zeros (``golden.compile``). Rotary pairs are element i of one half of a head and
element i of the other.

Scratch memory::

    x        the residual stream, float32 as everything here
    normed   what matrices multiply, and what they give back to the stream
    row      weights of a norm, or some of a bias
    turn     cosines and sines of the position
    wide     queries, keys and values; or gate and up
"""

import math
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from golden.core import state
from golden.core.commands import LINE_BYTES, UNIT, Function, IndexKind, Opcode
from golden.core.geometry import Geometry
from golden.core.head_image import add_head, closing_turns
from golden.core.image import Builder, Image, Symbols, line_count
from golden.core.model import Layer, Model, some_rows, stacked
from golden.core.ring import Program
from golden.weights import layout
from golden.weights.quantized import QuantizedWeights

__all__ = ["assemble"]

_NONE = 0xFFFFFFFF
_HALVINGS = {1 << shift: shift for shift in range(4)}


class _Places(NamedTuple):
    """Where vectors lie in scratch memory."""

    x: int
    normed: int
    row: int
    turn: int
    wide: int


class _Writer:
    """Puts a model into an image, part by part, with the commands that use it.

    Attributes:
        heads: lines of the headers of each layer's.
    """

    def __init__(self, model: Model, geometry: Geometry, limit: int) -> None:
        self.model, self.geometry, self.limit = model, geometry, limit
        self.builder, self.program = Builder(), Program()
        self.places = self._scratch()
        self.heads = [self._heads(number, layer) for number, layer in enumerate(model.layers)]

    def _heads(self, number: int, layer: Layer, prefix: str = "") -> list[int]:
        """Those of a layer."""
        model, scheme = self.model, layer.scheme
        names = (f"{prefix}layer{number}.head{place}" for place in range(model.kv_heads))
        rest = self.geometry, model.channels, self.limit
        return [add_head(self.builder, name, scheme, *rest) for name in names]

    def heads_of(self, sequence: int) -> dict[int, int]:
        """Heads of another sequence, by the lines of those of the first one."""
        prefix = f"sequence{sequence}."
        others = (self._heads(number, layer, prefix) for number, layer in enumerate(self.model.layers))
        return dict(zip(chain(*self.heads), chain(*others), strict=True))

    def _scratch(self) -> _Places:
        model = self.model
        wide = max((model.heads + 2 * model.kv_heads) * model.channels, 2 * model.hidden)
        row = max(model.width, model.channels)
        sizes = (model.width, model.width, row, model.channels, wide)
        ends = np.cumsum(sizes)
        if ends[-1] > self.geometry.scratch:
            raise ValueError(f"scratch {self.geometry.scratch} must be at least {ends[-1]} for this model")
        for size in sizes:
            if size % UNIT:
                raise ValueError(f"vectors of {size} elements must have a multiple of {UNIT}")
        return _Places(0, *map(int, ends[:-1]))

    def gather(self, name: str, table: NDArray, destination: int, index: IndexKind, beside: int = 0) -> None:
        """A row of a table [n, elements], each from a line on."""
        rows = np.atleast_2d(table)
        width = rows.shape[1] * rows.itemsize
        pitch = line_count(width)
        padded = np.zeros((len(rows), pitch * LINE_BYTES), np.uint8)
        padded[:, :width] = rows.view(np.uint8)
        line = self.builder.add(name, padded)
        self.program.add(
            Opcode.GATHER,
            table=line,
            pitch=pitch,
            destination=destination,
            elements=rows.shape[1],
            index=index,
            single=int(rows.itemsize == 4),
            beside=beside,
        )

    def matvec(self, name: str, weights: QuantizedWeights, source: int, **results: int) -> None:
        """A packet, and its product."""
        geometry = self.geometry
        group = weights.group if weights.groups > 1 else geometry.numerics.group
        packet = layout.pack(weights, geometry.rows, geometry.lanes, "fp32", word_bits=geometry.memory_bits)
        self.program.add(
            Opcode.MATVEC,
            packet=self.builder.add(name, packet),
            words=len(packet) // geometry.word_bytes,
            source=source,
            elements=weights.shape[1],
            halvings=_HALVINGS[geometry.numerics.group // group],
            **results,
        )

    def vector(self, function: Function, source: int, destination: int, elements: int, **more: int) -> None:
        """A function of vectors."""
        self.program.add(
            Opcode.VECTOR,
            function=function,
            source=source,
            destination=destination,
            elements=elements,
            **more,
        )

    def row(self, name: str, weights: NDArray[np.float32], beside: int = 0) -> None:
        """A row of numbers to the place that norms and biases take theirs from."""
        self.gather(name, weights.astype("<f4"), self.places.row, IndexKind.FIRST, beside)

    def norm(
        self, source: int, destination: int, elements: int, segment: int, mean: int, **flags: int
    ) -> None:
        """Segments of a vector, each normalised by the mean of ``mean`` elements times the row."""
        self.vector(
            Function.NORM,
            source,
            destination,
            elements,
            operand=self.places.row,
            segment=segment,
            epsilon=_bits(self.model.epsilon),
            reciprocal=_bits(1 / mean),
            **flags,
        )

    def stream_norm(self, **flags: int) -> None:
        """The residual stream, normalised; its row is there."""
        width = self.model.width
        self.norm(self.places.x, self.places.normed, width, width, width, **flags)

    def bias(self, name: str, bias: NDArray[np.float32] | None, place: int, beside: int = 0) -> None:
        """Numbers added to a matrix's products, as many at a time as there is room for."""
        if bias is None:
            return
        for first in range(0, len(bias), self.model.width):
            part, own = bias[first : first + self.model.width], place + first
            self.row(f"{name}.bias{first}", part, beside=1)
            self.vector(Function.ADD, own, own, len(part), operand=self.places.row, beside=beside)

    def back(
        self,
        number: int,
        layer: Layer,
        name: str,
        following: str,
        row: NDArray[np.float32],
        closes: bool = False,
    ) -> None:
        """A matrix whose results are added to the residual stream.

        Meanwhile the row of the next norm comes, and pages of values close if they are to.
        """
        places, width, own = self.places, self.model.width, f"layer{number}.{name}"
        bias = layer.biases.get(name)
        self.matvec(own, getattr(layer, name), places.wide, destination=places.normed, rows=width)
        self.bias(own, bias, places.normed)
        self.row(following, row, beside=int(bias is None))
        if closes:
            self.closes(number, 1)
        self.vector(Function.ADD, places.x, places.x, width, operand=places.normed)

    def closes(self, number: int, side: int) -> None:
        """Pages of a layer: those of a head close when no other's do, as far as there are tokens for all.

        All of a page's tokens are there, and attention reads it ``ahead`` tokens later.
        """
        scheme, size = self.model.layers[number].scheme, self.geometry.page_tokens
        for place, line in enumerate(self.heads[number], number * self.model.kv_heads):
            ahead = 1 + place % closing_turns(scheme, self.geometry)
            own = {"head": line, "ahead": ahead, "beside": 1}
            own |= {"mask": size - 1, "phase": (scheme.residual - 1 - ahead) % size}
            self.program.add(Opcode.CLOSE, side=side, **own)

    def appends(self, number: int) -> None:
        """Keys and values of a token to a layer's windows."""
        model, keys = self.model, self.places.wide + self.model.heads * self.model.channels
        values = keys + model.kv_heads * model.channels
        for place, line in enumerate(self.heads[number]):
            for side, first in enumerate((keys, values)):
                self.program.add(
                    Opcode.APPEND,
                    head=line,
                    source=first + place * model.channels,
                    side=side,
                    beside=1,
                )

    def attention(self, number: int, layer: Layer) -> None:
        """Queries, keys, values, and what the queries find in the cache.

        Keys and values come first: they are turned and appended while the array works out the queries.
        """
        model, places, name = self.model, self.places, f"layer{number}"
        queries, keys = (count * model.channels for count in (model.heads, model.kv_heads))
        own = places.wide + queries
        norms = layer.head_norms or (None, None)
        self.matvec(f"{name}.kv", layer.kv, places.normed, destination=own, rows=2 * keys)
        self.matvec(f"{name}.q", layer.q, places.normed, destination=places.wide, rows=queries)
        self.bias(f"{name}.kv", layer.biases.get("kv"), own, beside=1)
        self.turn(f"{name}.k_norm", norms[1], own, keys, beside=1)
        self.appends(number)
        lines = self.heads[number]
        (pitch,) = {after - before for before, after in pairwise(lines)} or {0}  # the same for all
        self.bias(f"{name}.q", layer.biases.get("q"), places.wide)
        self.turn(f"{name}.q_norm", norms[0], places.wide, queries)
        self.program.add(
            Opcode.ATTEND,
            head=lines[0],
            heads=len(lines),
            pitch=pitch,
            source=places.wide,
            destination=places.wide,
            queries=model.heads // model.kv_heads,
            wait_results=1,
        )

    def turn(
        self, name: str, norm: NDArray[np.float32] | None, place: int, elements: int, beside: int = 0
    ) -> None:
        """Heads, each normalised by itself where the model does so, and their rotary embedding."""
        model, channels = self.model, self.model.channels
        if norm is not None:
            self.row(name, norm, beside=1)
            self.norm(place, place, elements, channels, model.used_channels, beside=beside)
        turn = self.places.turn
        self.vector(Function.ROTARY, place, place, elements, operand=turn, segment=channels, beside=beside)

    def _rest(self, layer: Layer) -> int:
        """How many of SwiGLU's products wait until all their factors are there.

        The fewest whose own weights are as many words of memory as there are other products, which are made
        meanwhile, about one a cycle.
        """
        model, bits = self.model, layer.gate.bits_per_weight + layer.up.bits_per_weight
        words = bits * model.width / self.geometry.memory_bits
        return UNIT * math.ceil(model.hidden / (words + 1) / UNIT)

    def gates(self, number: int, layer: Layer) -> None:
        """The vector that goes down: most of it is made while the array works out the rest's factors.

        While it works out the first ones, pages of keys close.
        """
        wide, hidden = self.places.wide, self.model.hidden
        most = hidden - self._rest(layer)
        parts = [rows for rows in (slice(0, most), slice(most, hidden)) if rows.stop > rows.start]
        biases = [layer.biases.get(side) for side in ("gate", "up")]
        for place, rows in enumerate(parts):
            first, name = wide + 2 * rows.start, f"layer{number}.gate_up{place}"
            weights = stacked(some_rows(layer.gate, rows), some_rows(layer.up, rows))
            count = weights.shape[0]
            self.matvec(name, weights, self.places.normed, destination=first, rows=count)
            if place == 0:
                self.closes(number, 0)
        for place, rows in enumerate(parts):
            first, count = wide + 2 * rows.start, rows.stop - rows.start
            beside = int(place + 1 < len(parts))
            for side, bias in enumerate(biases):
                own = None if bias is None else bias[rows]
                self.bias(f"layer{number}.gate_up{place}.{side}", own, first + side * count, beside)
            target = wide + rows.start
            self.vector(Function.SILU_MULTIPLY, first, target, count, operand=first + count, beside=beside)

    def layer(self, number: int, layer: Layer) -> None:
        """A layer; the row of its first norm is there, and that of the next one at its end."""
        layers, name = self.model.layers, f"layer{number}"
        following = ("norm", self.model.norm)
        if number + 1 < len(layers):
            following = (f"layer{number + 1}.attention_norm", layers[number + 1].attention_norm)
        self.stream_norm()
        self.attention(number, layer)
        self.back(number, layer, "o", f"{name}.ffn_norm", layer.ffn_norm)
        self.stream_norm()
        self.gates(number, layer)
        self.back(number, layer, "down", *following, closes=True)


def assemble(
    model: Model, geometry: Geometry, limit: int, preset: str, logits: bool = True, sequences: int = 1
) -> Image:
    """The image of a model, with ``sequences`` sequences of at most ``limit`` tokens that take turns.

    Logits are worked out from the last token of the prompt on.

    Raises:
        ValueError: the model does not fit the core; the message says what does not.
    """
    writer = _Writer(model, geometry, limit)
    builder, program, places = writer.builder, writer.program, writer.places
    tokens = builder.reserve("tokens", sequences * line_count(4 * limit) * LINE_BYTES)
    sequence = builder.reserve("sequence", sequences * LINE_BYTES)
    program.add(Opcode.BEGIN, sequence=sequence, wait_results=1)
    writer.gather("embedding", model.embedding.astype("<f2"), places.x, IndexKind.TOKEN)
    writer.gather("turns", model.turns[:limit].astype("<f4"), places.turn, IndexKind.POSITION)
    writer.row("layer0.attention_norm", model.layers[0].attention_norm)
    for number, layer in enumerate(model.layers):
        writer.layer(number, layer)
    writer.stream_norm(unprompted=1)
    results = builder.reserve("logits", 4 * model.output.shape[0]) if logits else 0
    kept = {"arg_max": 1, "logits": int(logits), "results": results}
    writer.matvec("output", model.output, places.normed, unprompted=1, **kept)
    program.add(Opcode.ADVANCE, interrupt=1, wait_results=1)
    count = len(program.commands)
    for number in range(1, sequences):
        program.again(count, writer.heads_of(number) | {sequence: sequence + number})
    ring = builder.add("ring", b"".join(program.commands))
    identity = builder.identity()
    completions = builder.reserve("completions", 16 * sequences * count)
    symbols = Symbols(
        ring=ring,
        commands=sequences * count,
        completions=completions,
        sequence=sequence,
        tokens=tokens,
        limit=limit,
        logits=results if logits else None,
        vocabulary=len(model.embedding),
        identity=identity,
        lines=builder.lines,
        preset=preset,
        lines_of=builder.lines_of,
        sequences=sequences,
    )
    memory = builder.memory()
    states = [_state(model, symbols, number) for number in range(sequences)]
    memory[sequence * LINE_BYTES :][: sequences * LINE_BYTES] = np.frombuffer(b"".join(states), np.uint8)
    return Image(memory, symbols, tuple(program.listing))


def _state(model: Model, symbols: Symbols, number: int) -> bytes:
    """A sequence before its first token."""
    values = {
        "position": 0,
        "prompt": 1,
        "tokens": symbols.tokens_of(number),
        "limit": symbols.limit,
        "stopped": 0,
        "model_low": symbols.identity & _NONE,
        "model_high": symbols.identity >> 32,
    }
    stops = dict(zip(("stop_0", "stop_1"), (*model.stops, _NONE, _NONE), strict=False))
    return state.encoded(values | stops, state.SEQUENCE, LINE_BYTES)


def _bits(number: float) -> int:
    return int(np.float32(number).view(np.uint32))
