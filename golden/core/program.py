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

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from golden.core import state
from golden.core.commands import LINE_BYTES, UNIT, Field, Function, IndexKind, Opcode, encode
from golden.core.geometry import Geometry
from golden.core.image import Builder, Image, Symbols
from golden.core.kv_shape import bits_of
from golden.kv.formats import Format
from golden.kv.pages import PageLayout
from golden.kv.schemes import Scheme
from golden.kv.window import copy_bytes
from golden.weights import layout
from golden.weights.quantized import QuantizedWeights

__all__ = ["Layer", "Model", "assemble", "stacked"]

_NONE = 0xFFFFFFFF
_OWN = ("head", "sequence")
"""Fields whose lines are a sequence's own."""
_HALVINGS = {1 << shift: shift for shift in range(4)}


class Layer(NamedTuple):
    """One layer.

    Attributes:
        qkv: queries, keys and values of all heads, rows in this order.
        o, gate_up, down: the other matrices; rows of gate, then of up.
        attention_norm, ffn_norm: float32 [width].
        scheme: of its cache, whole pages with a window format.
        biases: float32, added to the products of the matrices of these names.
        head_norms: weights of the norms of each query and of each key, float32 [D]; None without.
    """

    qkv: QuantizedWeights
    o: QuantizedWeights
    gate_up: QuantizedWeights
    down: QuantizedWeights
    attention_norm: NDArray[np.float32]
    ffn_norm: NDArray[np.float32]
    scheme: Scheme
    biases: Mapping[str, NDArray[np.float32]]
    head_norms: tuple[NDArray[np.float32], NDArray[np.float32]] | None


@dataclass(frozen=True, eq=False)
class Model:
    """A llama model in a core's terms.

    Attributes:
        embedding: float16 [V, width].
        turns: float32 [limit, D], cosines [D / 2] and sines [D / 2] of every position.
        layers: in order.
        norm: float32 [width].
        output: the output layer.
        heads, kv_heads, channels: of attention.
        used_channels: elements of a head that are not zeros which fill it up.
        epsilon: of the norms.
        stops: at most two tokens that end a text.
    """

    embedding: NDArray[np.float16]
    turns: NDArray[np.float32]
    layers: tuple[Layer, ...]
    norm: NDArray[np.float32]
    output: QuantizedWeights
    heads: int
    kv_heads: int
    channels: int
    used_channels: int
    epsilon: float
    stops: tuple[int, ...] = ()

    @property
    def width(self) -> int:
        """Elements of the residual stream."""
        return self.embedding.shape[1]

    @property
    def hidden(self) -> int:
        """Elements between the matrices of SwiGLU."""
        return self.layers[0].down.shape[1]


def stacked(*parts: QuantizedWeights) -> QuantizedWeights:
    """Matrices of one data type and the same inputs, one below the other."""
    arrays = ("codes", "selector", "scale_mantissa", "scale_distance", "zero_point", "channel_exponent")
    optional = () if parts[0].offset_mantissa is None else ("offset_mantissa", "offset_distance")
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in (*arrays, *optional)}
    return replace(parts[0], **joined)


class _Places(NamedTuple):
    """Where vectors lie in scratch memory."""

    x: int
    normed: int
    row: int
    turn: int
    wide: int


@dataclass
class _Program:
    """Commands in order, with a line of text each."""

    given: list[tuple[Opcode, dict[str, int]]] = field(default_factory=list)
    commands: list[bytes] = field(default_factory=list)
    listing: list[str] = field(default_factory=list)

    def again(self, count: int, lines: dict[int, int]) -> None:
        """The first ``count`` commands once more, with other lines of what is a sequence's own."""
        for opcode, values in self.given[:count]:
            own = {name: lines[values[name]] for name in _OWN if name in values}
            self.add(opcode, **values | own)

    def add(self, opcode: Opcode, **values: int) -> None:
        number = len(self.commands)
        self.given.append((opcode, values))
        self.commands.append(encode(opcode, id=number, stop=1, **values))
        shown = " ".join(f"{name}={value}" for name, value in values.items())
        self.listing.append(f"{number:5} {opcode.name.lower():8}{shown}")


class _Writer:
    """Puts a model into an image, part by part, with the commands that use it."""

    def __init__(self, model: Model, geometry: Geometry, limit: int) -> None:
        self.model, self.geometry, self.limit = model, geometry, limit
        self.builder, self.program = Builder(), _Program()
        self.heads: list[tuple[int, str, Scheme]] = []
        self.places = self._scratch()

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

    def gather(self, name: str, table: NDArray, destination: int, index: IndexKind) -> None:
        """A row of a table [n, elements], each from a line on."""
        rows = np.atleast_2d(table)
        width = rows.shape[1] * rows.itemsize
        pitch = -(-width // LINE_BYTES)
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

    def norm(
        self, name: str, weights: NDArray[np.float32], source: int, destination: int, elements: int, mean: int
    ) -> None:
        """Vectors as long as the weights, normalised by the mean of ``mean`` elements of each."""
        row = self.places.row
        self.gather(name, weights.astype("<f4"), row, IndexKind.FIRST)
        self.vector(
            Function.NORM,
            source,
            destination,
            elements,
            operand=row,
            segment=len(weights),
            epsilon=_bits(self.model.epsilon),
            reciprocal=_bits(1 / mean),
        )

    def stream_norm(self, name: str, weights: NDArray[np.float32]) -> None:
        """The residual stream, normalised."""
        width = self.model.width
        self.norm(name, weights, self.places.x, self.places.normed, width, width)

    def product(self, number: int, layer: Layer, name: str, source: int, destination: int) -> None:
        """A matrix of a layer, and its bias, as much of it at a time as there is room for."""
        weights, bias, row = getattr(layer, name), layer.biases.get(name), self.places.row
        self.matvec(f"layer{number}.{name}", weights, source, destination=destination, rows=weights.shape[0])
        if bias is None:
            return
        for first in range(0, len(bias), self.model.width):
            part, place = bias[first : first + self.model.width], destination + first
            self.gather(f"layer{number}.{name}.bias{first}", part.astype("<f4"), row, IndexKind.FIRST)
            self.vector(Function.ADD, place, place, len(part), operand=row)

    def back(self, number: int, layer: Layer, name: str) -> None:
        """A matrix whose results are added to the residual stream."""
        places = self.places
        self.product(number, layer, name, places.wide, places.normed)
        self.vector(Function.ADD, places.x, places.x, self.model.width, operand=places.normed)

    def head(self, name: str, scheme: Scheme) -> int:
        """Header, records, pages and window of a KV head; returns the header's line."""
        geometry, channels = self.geometry, self.model.channels
        tokens, residual = geometry.page_tokens, scheme.residual
        layouts = [
            self._layout(form, side)
            for form, side in zip((scheme.key, scheme.value), ("key", "value"), strict=True)
        ]
        window = self._layout(scheme.window_format, "key")
        parts = [_lines(window.bytes)] * 2 + [_lines(copy_bytes(window))] * 2
        starts = [0, *map(int, np.cumsum(parts))]
        blocks = -(-(residual + tokens - 1) // tokens)  # that the window lies in at most
        slots = 1 << (blocks - 1).bit_length()
        pages = max(0, self.limit - residual) // tokens
        builder = self.builder
        header = {
            "window": builder.reserve(f"{name}.window", starts[-1] * slots * LINE_BYTES),
            "pitch": starts[-1],
            "slots": slots,
            "channels": channels // UNIT,
            "residual": residual,
            "coded_values": starts[1],
            "key_copy": starts[2],
            "value_copy": starts[3],
            "pages": pages,
            "key_top": 1,
            "value_top": 1,
        }
        lengths = [_lines(each.bytes) for each in layouts]
        first = builder.reserve(f"{name}.pages", pages * sum(lengths) * LINE_BYTES)
        forms = [bits_of(each.format, channels, tokens) for each in layouts]
        records = [
            {
                "keys": first + page * sum(lengths),
                "values": first + page * sum(lengths) + lengths[0],
                "key_format": forms[0],
                "value_format": forms[1],
                "first": 0,
                "last": tokens - 1,
            }
            for page in range(pages)
        ]
        own = [_words(header, state.HEAD, LINE_BYTES)]
        own += [_words(record, state.RECORD, state.RECORD_BYTES) for record in records]
        return builder.add(name, b"".join(own))

    def _layout(self, form: Format | None, side: str) -> PageLayout:
        if form is None:
            raise ValueError("scheme of a core must have a window format")
        geometry = self.geometry
        return PageLayout(
            form, side, geometry.page_tokens, self.model.channels, geometry.rows, geometry.lanes
        )

    def attention(self, number: int, layer: Layer) -> None:
        """Keys and values of a token to the cache, and what its queries find there."""
        model, wide = self.model, self.places.wide
        group = model.heads // model.kv_heads
        keys = wide + model.heads * model.channels
        values = keys + model.kv_heads * model.channels
        size, residual = self.geometry.page_tokens, layer.scheme.residual
        for head in range(model.kv_heads):
            name = f"layer{number}.head{head}"
            line = self.head(name, layer.scheme)
            self.heads.append((line, name, layer.scheme))
            for side, source in enumerate((keys, values)):
                self.program.add(
                    Opcode.APPEND,
                    head=line,
                    source=source + head * model.channels,
                    side=side,
                    wait_results=1,
                )
            for side in range(2):
                self.program.add(
                    Opcode.CLOSE,
                    head=line,
                    side=side,
                    wait_results=1,
                    mask=size - 1,
                    phase=(residual - 1) % size,
                )
            queries = wide + head * group * model.channels
            self.program.add(
                Opcode.ATTEND, head=line, source=queries, destination=queries, queries=group, wait_results=1
            )

    def head_norms(self, number: int, layer: Layer) -> None:
        """Queries and keys, each normalised by itself."""
        model, place = self.model, self.places.wide
        if layer.head_norms is None:
            return
        sides = zip("qk", (model.heads, model.kv_heads), layer.head_norms, strict=True)
        for side, heads, weights in sides:
            elements = heads * model.channels
            self.norm(f"layer{number}.{side}_norm", weights, place, place, elements, model.used_channels)
            place += elements

    def layer(self, number: int, layer: Layer) -> None:
        """A layer."""
        model, places, hidden = self.model, self.places, self.model.hidden
        self.stream_norm(f"layer{number}.attention_norm", layer.attention_norm)
        self.product(number, layer, "qkv", places.normed, places.wide)
        self.head_norms(number, layer)
        self.vector(
            Function.ROTARY,
            places.wide,
            places.wide,
            (model.heads + model.kv_heads) * model.channels,
            operand=places.turn,
            segment=model.channels,
        )
        self.attention(number, layer)
        self.back(number, layer, "o")
        self.stream_norm(f"layer{number}.ffn_norm", layer.ffn_norm)
        self.product(number, layer, "gate_up", places.normed, places.wide)
        self.vector(Function.SILU_MULTIPLY, places.wide, places.wide, hidden, operand=places.wide + hidden)
        self.back(number, layer, "down")


def assemble(
    model: Model, geometry: Geometry, limit: int, preset: str, logits: bool = True, sequences: int = 1
) -> Image:
    """The image of a model, with ``sequences`` sequences of at most ``limit`` tokens that take turns.

    Raises:
        ValueError: the model does not fit the core; the message says what does not.
    """
    writer = _Writer(model, geometry, limit)
    builder, program, places = writer.builder, writer.program, writer.places
    tokens = builder.reserve("tokens", sequences * _lines(4 * limit) * LINE_BYTES)
    sequence = builder.reserve("sequence", sequences * LINE_BYTES)
    program.add(Opcode.BEGIN, sequence=sequence, wait_results=1)
    writer.gather("embedding", model.embedding.astype("<f2"), places.x, IndexKind.TOKEN)
    writer.gather("turns", model.turns[:limit].astype("<f4"), places.turn, IndexKind.POSITION)
    for number, layer in enumerate(model.layers):
        writer.layer(number, layer)
    writer.stream_norm("norm", model.norm)
    results = builder.reserve("logits", 4 * model.output.shape[0]) if logits else 0
    writer.matvec("output", model.output, places.normed, arg_max=1, logits=int(logits), results=results)
    program.add(Opcode.ADVANCE, interrupt=1, wait_results=1)
    count = len(program.commands)
    for number in range(1, sequences):
        lines = {line: writer.head(f"sequence{number}.{name}", own) for line, name, own in writer.heads}
        program.again(count, lines | {sequence: sequence + number})
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
    return _words(values | stops, state.SEQUENCE, LINE_BYTES)


def _bits(number: float) -> int:
    return int(np.float32(number).view(np.uint32))


def _lines(length: int) -> int:
    return -(-length // LINE_BYTES)


def _words(values: dict[str, int], fields: tuple[Field, ...], length: int) -> bytes:
    words = np.zeros(length // 4, "<u4")
    for each in fields:
        words[each.word] |= np.uint32(values[each.name] << each.low)
    return words.tobytes()
