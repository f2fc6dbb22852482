"""The Verilog's names are those of the source: ports, registers, wires, instances and modules."""

import re
from collections.abc import Callable

import pytest
from amaranth.hdl import ClockDomain, DomainRenamer, EnableInserter, Fragment, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw import blocks, verilog
from hw.config import preset
from hw.pe.array import Array
from hw.sharing import share

PAIR = data.StructLayout({"low": 3, "high": data.ArrayLayout(2, 2)})


class Inner(wiring.Component):
    """Has a register; a user may take some bits of its outputs only."""

    def __init__(self, edit: Callable[[Module], None] = lambda m: None) -> None:
        self.edit = edit
        super().__init__(
            {
                "taken": In(PAIR),
                "given": Out(stream.Signature(PAIR)),
                "spare": Out(4),
                "none": In(0),
                "a": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        total = Signal(4)
        self.edit(m)
        m.d.sync += [total.eq(total + self.taken.low), self.given.payload.eq(self.taken)]
        m.d.comb += [self.spare.eq(total), self.given.valid.eq(total[3] & self.a)]
        return m


class Shared(wiring.Component):
    """Stands in the design twice; half of its output is used."""

    config = None
    elaborated = 0

    x: In(3)
    given: Out(stream.Signature(PAIR))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        Shared.elaborated += 1
        m.d.comb += self.given.payload.low.eq(~self.x)
        return m


class Outer(wiring.Component):
    """Uses some fields of an inner component, a FIFO, a memory, and a shared component twice."""

    def __init__(self, inner: Callable[[], object] = Inner, edit: Callable[[Module], None] = lambda m: None):
        self.inner, self.edit = inner, edit
        super().__init__({"result": Out(9), "last": Out(3), "entry": In(3), "b": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.inner = inner = self.inner()
        m.submodules.queue = queue = SyncFIFOBuffered(width=3, depth=4)
        m.submodules.table = table = Memory(shape=PAIR, depth=4, init=[])
        self.edit(m)
        write = table.write_port()
        read = table.read_port()
        rows = [share(m, f"row_{number}", Shared()) for number in range(2)]
        m.d.comb += [
            queue.w_data.eq(self.entry),
            queue.w_en.eq(self.b),
            inner.taken.low.eq(queue.r_data),
            inner.a.eq(1),
            write.data.low.eq(inner.given.payload.low),
            write.en.eq(self.b),
            self.result.eq(read.data.high[1] + inner.given.payload.high[0] + rows[0].given.payload.low),
            rows[1].x.eq(rows[0].given.payload.low),
            self.last.eq(rows[1].given.payload.low),
        ]
        return m


def header(text: str, module: str) -> str:
    """Names of a module's ports."""
    found = re.search(rf"^module {module}\((.*)\);$", text, re.MULTILINE)
    assert found
    return found[1]


def lines(text: str) -> dict[str, set[str]]:
    """Lines of each module, without the numbers that Yosys gives to unnamed subexpressions."""
    text = re.sub(r"\b_\d+_\b", "_", text)
    found = re.findall(r"^(module (\w+).*?^endmodule)$", text, re.MULTILINE | re.DOTALL)
    return {name: set(body.splitlines()) for body, name in found}


@pytest.mark.parametrize("block", blocks.names())
def test_names(block: str) -> None:
    """Every wire of every module has a name, and no two have the same."""
    modules = verilog.modules(blocks.get(block)(preset("tiny")), "top")
    for text in modules.texts.values():
        assert re.findall(r"^  wire .*\\(\S*\$\S*)$", text, re.MULTILINE) == []
    assert modules.repeated == []


@pytest.mark.quick
def test_ports() -> None:
    """Ports are the signature, whole and in order, whatever of them is used; then clock and reset."""
    text = verilog.convert(Outer(), "top")
    assert header(text, "top") == "result, last, entry, b, clk, rst"
    assert header(text, "top_inner") == "taken, given_payload, given_valid, given_ready, spare, a, clk, rst"
    fifo = "w_data, w_en, r_en, w_rdy, w_level, r_data, r_rdy, r_level, clk, rst"
    assert header(text, "top_queue") == fifo
    assert re.findall(r"^module (\w+)", text, re.MULTILINE) == ["top", "top_inner", "top_queue", "top_shared"]


@pytest.mark.quick
def test_wires() -> None:
    """Registers keep their names, instances and memories name what is connected to them."""
    text = verilog.convert(Outer(), "top")
    top = text[text.index("module top(") :]
    connected = re.findall(r"\.(\w+)\((\w+)\)", top)
    for instance in ("inner", "row_0", "row_1"):
        assert ("given_payload", f"{instance}_given_payload") in connected
    assert "  reg [3:0] total = 4'h0;" in text
    declared = re.findall(r"^  wire (?:\[\d+:0\] )?(\w+);", text, re.MULTILINE)
    assert {"inner_taken", "inner_taken_low", "queue_r_data", "table_read_data"} <= set(declared)
    assert re.search(r"^  reg \[\d+:0\] table_ *\[3:0\];", top, re.MULTILINE)


def test_unrelated_edit() -> None:
    """A new register leaves all other lines as they are, and the names of all modules."""

    def edit(m: Module) -> None:
        extra = Signal(5, attrs={"keep": 1})
        m.d.sync += extra.eq(extra + 1)

    class Edited(Array):
        def elaborate(self, platform: object) -> Module:
            m = super().elaborate(platform)
            edit(m)
            return m

    for before, after in (
        (Outer(), Outer(edit=edit)),
        (Outer(), Outer(inner=lambda: Inner(edit))),
        (Array(preset("tiny")), Edited(preset("tiny"))),
    ):
        old, new = (lines(verilog.convert(component, "top")) for component in (before, after))
        assert old.keys() == new.keys()
        (changed,) = (name for name in old if old[name] != new[name])
        assert any(re.search(r"\bextra\b", line) for line in new[changed])
        assert old[changed] < new[changed]


@pytest.mark.quick
def test_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shared component is elaborated once; in Amaranth's simulator each one is a component of its own."""
    monkeypatch.setattr(Shared, "elaborated", 0)
    verilog.modules(Outer(), "top")
    assert Shared.elaborated == 1
    Fragment.get(Outer(), None)
    assert Shared.elaborated == 3


@pytest.mark.quick
def test_equal_modules() -> None:
    """Equal modules are written once; those that differ only in what they contain stay apart."""

    class Leaf(wiring.Component):
        def __init__(self, width: int) -> None:
            self.width = width
            super().__init__({"x": In(8), "y": Out(8)})

        def elaborate(self, platform: object) -> Module:
            m = Module()
            m.d.comb += self.y.eq(self.x[: self.width])
            return m

    class Middle(Leaf):
        def elaborate(self, platform: object) -> Module:
            m = Module()
            m.submodules.leaf = leaf = Leaf(self.width)
            m.d.comb += [leaf.x.eq(self.x), self.y.eq(leaf.y)]
            return m

    class Top(Leaf):
        def elaborate(self, platform: object) -> Module:
            m = Module()
            for number, width in enumerate((1, 2, 2)):
                m.submodules[f"m{number}"] = middle = Middle(width)
                m.d.comb += [middle.x.eq(self.x), self.y[number].eq(middle.y[0])]
            return m

    text = verilog.convert(Top(0), "top")
    modules = re.findall(r"^module (\w+)", text, re.MULTILINE)
    assert sorted(modules) == ["top", "top_m0", "top_m0_leaf", "top_m1", "top_m1_leaf"]
    assert re.findall(r"^  (\w+) (m\d) \(", text, re.MULTILINE) == [
        ("top_m0", "m0"),
        ("top_m1", "m1"),
        ("top_m1", "m2"),
    ]


@pytest.mark.quick
def test_domains() -> None:
    """A renamed clock domain reaches the component through ports of that name."""
    text = verilog.convert(Outer(inner=lambda: DomainRenamer("fast")(Inner())), "top")
    assert header(text, "top_inner").endswith("a, fast_clk, fast_rst")
    assert header(text, "top").endswith("b, fast_clk, fast_rst, clk, rst")


@pytest.mark.quick
def test_no_port() -> None:
    """A signal that crosses a border beside the ports is refused, as are domains that are made inside."""
    signal = Signal()

    def use(m: Module) -> None:
        other = Signal()
        m.d.sync += other.eq(signal)

    def domain(m: Module) -> None:
        m.domains.fast = ClockDomain()

    message = "signal 'signal' is used in top_inner and in top but is no port"
    with pytest.raises(ValueError, match=message):
        verilog.convert(Outer(inner=lambda: Inner(use), edit=use), "top")
    with pytest.raises(ValueError, match=message):
        verilog.convert(Outer(inner=lambda: EnableInserter(signal)(Inner()), edit=use), "top")
    with pytest.raises(ValueError, match="top_inner defines the clock domain 'fast'"):
        verilog.convert(Outer(inner=lambda: Inner(domain)), "top")


@pytest.mark.quick
def test_repeated_names() -> None:
    """Things without a name and things of one name are told."""

    def edit(m: Module) -> None:
        for _ in range(2):
            twice = Signal()
            m.d.sync += twice.eq(~twice)
        unnamed = [Signal(attrs={"keep": 1}) for _ in range(2)]
        m.d.sync += [signal.eq(~signal) for signal in unnamed]

    modules = verilog.modules(Outer(edit=edit), "top")
    assert modules.repeated == ["top.twice", "top.$signal"]
    text = verilog.convert(Outer(edit=edit), "top")
    assert {"signal", "signal_2"} <= set(re.findall(r"\bsignal\w*", text))
