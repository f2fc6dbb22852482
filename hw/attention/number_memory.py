"""Number memory: the scales and minima of the pages under way, and groups of them at any distance.

A ring of words for scales and one for minima. A page's numbers begin with a word of their own in both, at the
same place, and stay until the page is released.
"""

from amaranth.hdl import Array, Module, Mux, Signal, Value
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from hw.attention.payloads import attention_page, number_request, numbers
from hw.config import Config
from hw.kv.page_shape import entries, field_words
from hw.kv.payloads import HALF_BITS, word
from hw.sharing import share

__all__ = ["READERS", "NumberMemory", "depth", "per_word"]

_COMPLETE = 2
"""Pages whose numbers are there and whose vectors have not begun."""

_RINGS = ("scales", "minima")

READERS = ("scales", "vectors")
"""Who reads, the one that never waits for the other first."""


def per_word(config: Config) -> int:
    """Numbers of a word."""
    return config.memory_bits // HALF_BITS


def depth(config: Config) -> int:
    """Words of either ring: of two pages with the most groups."""
    return 2 * entries(config) // per_word(config)


class NumberGather(wiring.Component):
    """Walk through the words that hold the groups of a request, for one reader.

    Members:
        requests (in stream): taken with the read of its last word.
        issue (in): the word at ``address`` is read.
        wants (out): a word is wanted.
        address (out): of that word.
        lanes (out): which lanes are in it.
        selects (out): where in it.
        completes (out): it is the last one of its request.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        lanes = config.activation_lanes
        super().__init__(
            {
                "requests": In(stream.Signature(number_request(config))),
                "issue": In(1),
                "wants": Out(1),
                "address": Out(range(depth(config))),
                "lanes": Out(lanes),
                "selects": Out(data.ArrayLayout(range(per_word(config)), lanes)),
                "completes": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        lanes = config.activation_lanes
        low = exact_log2(per_word(config))
        index_bits = len(self.requests.payload.index)
        held = [Signal(index_bits, name=f"index_{lane}", reset_less=True) for lane in range(lanes)]
        base = Signal.like(self.requests.payload.word, reset_less=True)
        left = Signal(lanes)
        number = Signal(index_bits - low)  # of the word within the page
        request = self.requests.payload
        m.d.comb += [
            self.requests.ready.eq(~left.any() | (self.issue & self.completes)),
            self.wants.eq(left.any()),
            self.address.eq(base + number),
            self.completes.eq(left == self.lanes),
        ]
        first_left: Value = held[-1]
        for lane in reversed(range(lanes - 1)):
            first_left = Mux(left[lane], held[lane], first_left)
        m.d.comb += number.eq(first_left[low:])
        for lane, index in enumerate(held):
            m.d.comb += [
                self.lanes[lane].eq(left[lane] & (index[low:] == number)),
                self.selects[lane].eq(index[:low]),
            ]
        with m.If(self.issue):
            m.d.sync += left.eq(left & ~self.lanes)
        with m.If(self.requests.ready):
            m.d.sync += [base.eq(request.word), left.eq(self.requests.valid.replicate(lanes))]
            for lane, index in enumerate(held):
                m.d.sync += index.eq(request.index + request.stride * lane)
        return m


class NumberMemory(wiring.Component):
    """Keep numbers, and gather ``activation_lanes`` of them a cycle, more where they lie in several words.

    Numbers of a request whose groups lie in one word are offered 3 cycles after it. The reader ``scales`` has
    the right of way, a word every other cycle; ``vectors`` may let its numbers wait, and does not hold up the
    other.

    Members:
        pages (in stream): pages whose numbers come.
        numbers (in stream): their scales, then their minima, ``last`` closes a page's.
        loaded (out stream): pages whose numbers are in memory.
        release (in): the oldest page's numbers, ``released`` words of either ring, are not wanted any more.
        {reader}_requests (in streams), {reader}_numbers (out streams): of both readers.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        ports: dict[str, In | Out] = {}
        for reader in READERS:
            ports[f"{reader}_requests"] = In(stream.Signature(number_request(config)))
            ports[f"{reader}_numbers"] = Out(stream.Signature(numbers(config)))
        super().__init__(
            {
                "pages": In(stream.Signature(attention_page(config))),
                "numbers": In(stream.Signature(word(config.memory_bits))),
                "loaded": Out(stream.Signature(attention_page(config))),
                "release": In(1),
                "released": In(range(depth(config))),
                **ports,
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        shape = data.ArrayLayout(HALF_BITS, per_word(config))
        rings = {}
        for name in _RINGS:
            rings[name] = memory.Memory(shape=shape, depth=depth(config), init=[])
            m.submodules[f"{name}_memory"] = rings[name]
        self._load(m, rings)
        self._read(m, rings)
        return m

    def _load(self, m: Module, rings: dict[str, memory.Memory]) -> None:
        """Write a page's numbers; it is loaded with the last one."""
        size = depth(self.config)
        m.submodules.complete = complete = SyncFIFO(width=self.pages.payload.shape().size, depth=_COMPLETE)
        begin = Signal(range(2 * size))
        free = Signal.like(begin)
        address = Signal.like(begin)
        words = Signal(range(size))
        place = Signal(range(size))  # of the word within the page's scales, or its minima
        of_minima = Signal()
        side_ends = Signal()
        room = Signal()
        takes = Signal()
        ends = Signal()
        m.d.comb += [
            words.eq(field_words(self.pages.payload.form, self.config)),
            side_ends.eq(place == words - 1),
            room.eq((address - free)[: len(address)] < size),
            self.numbers.ready.eq(self.pages.valid & room & (complete.w_rdy | ~self.numbers.payload.last)),
            takes.eq(self.numbers.valid & self.numbers.ready),
            ends.eq(takes & self.numbers.payload.last),
            self.pages.ready.eq(ends),
            complete.w_data.eq(self.pages.payload),
            complete.w_en.eq(ends),
        ]
        connect(m, complete.r_stream, flipped(self.loaded))
        for name, ring in rings.items():
            chosen = of_minima if name == "minima" else ~of_minima
            write = ring.write_port()
            m.d.comb += [
                write.addr.eq(address),
                write.data.eq(self.numbers.payload.data),
                write.en.eq(takes & chosen),
            ]
        with m.If(takes):
            m.d.sync += [place.eq(place + 1), address.eq(address + 1)]
            with m.If(side_ends):
                m.d.sync += [place.eq(0), address.eq(begin), of_minima.eq(1)]
        with m.If(ends):
            m.d.sync += [place.eq(0), address.eq(begin + words), begin.eq(begin + words), of_minima.eq(0)]
        with m.If(self.release):
            m.d.sync += free.eq(free + self.released)

    def _read(self, m: Module, rings: dict[str, memory.Memory]) -> None:
        """Words for both readers; what one of them leaves waiting is read again after the other's."""
        lanes = self.config.activation_lanes
        gathers = {name: share(m, f"{name}_gather", NumberGather(self.config)) for name in READERS}
        about = data.StructLayout(
            {
                "valid": 1,
                "address": range(depth(self.config)),
                "lanes": lanes,
                "selects": data.ArrayLayout(range(per_word(self.config)), lanes),
                "completes": 1,
            }
        )
        fetched = {name: Signal(about, name=f"{name}_fetched") for name in READERS}
        stale = Signal()  # what vectors wait for was overwritten
        takes = {name: Signal(name=f"{name}_takes") for name in READERS}
        waits = Signal()
        for name in READERS:
            target = getattr(self, f"{name}_numbers")
            lost = stale if name == "vectors" else 0
            m.d.comb += takes[name].eq(fetched[name].valid & ~lost & (~target.valid | target.ready))
        m.d.comb += waits.eq(fetched["vectors"].valid & ~takes["vectors"])

        scales, vectors = gathers["scales"], gathers["vectors"]
        target = self.scales_numbers
        m.d.comb += [
            scales.issue.eq(scales.wants & ~fetched["scales"].valid & (~target.valid | target.ready)),
            vectors.issue.eq(vectors.wants & ~waits & ~scales.issue),
        ]
        address = Mux(scales.issue, scales.address, Mux(waits, fetched["vectors"].address, vectors.address))
        words = {}
        for name, ring in rings.items():
            read = ring.read_port()
            words[name] = read.data
            m.d.comb += [read.addr.eq(address), read.en.eq(scales.issue | vectors.issue | (waits & stale))]
        m.d.sync += stale.eq(waits & scales.issue)
        for name, gather in gathers.items():
            connection = getattr(self, f"{name}_requests")
            connect(m, flipped(connection), gather.requests)
            with m.If(takes[name] | ~fetched[name].valid):
                m.d.sync += [
                    fetched[name].valid.eq(gather.issue),
                    fetched[name].address.eq(gather.address),
                    fetched[name].lanes.eq(gather.lanes),
                    fetched[name].selects.eq(gather.selects),
                    fetched[name].completes.eq(gather.completes),
                ]
        self._select(m, words, fetched, takes)

    def _select(
        self,
        m: Module,
        words: dict[str, data.View],
        fetched: dict[str, Signal],
        takes: dict[str, Signal],
    ) -> None:
        """Numbers of the word that was read, into the lanes that want them."""
        of_scales = fetched["scales"].valid
        for lane in range(self.config.activation_lanes):
            select = Signal(range(per_word(self.config)), name=f"select_{lane}")
            m.d.comb += select.eq(
                Mux(of_scales, fetched["scales"].selects[lane], fetched["vectors"].selects[lane])
            )
            for name, fetched_word in words.items():
                chosen = Signal(HALF_BITS, name=f"{name}_chosen_{lane}")
                m.d.comb += chosen.eq(Array(fetched_word)[select])
                for reader in READERS:
                    target = getattr(self, f"{reader}_numbers").payload[name][lane]
                    with m.If(takes[reader] & fetched[reader].lanes[lane]):
                        m.d.sync += target.eq(chosen)
        for reader in READERS:
            target = getattr(self, f"{reader}_numbers")
            with m.If(target.ready):
                m.d.sync += target.valid.eq(0)
            with m.If(takes[reader] & fetched[reader].completes):
                m.d.sync += target.valid.eq(1)
