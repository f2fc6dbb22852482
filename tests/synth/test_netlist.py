"""Mapped netlists behave like the Verilog that they were made of: random inputs, every cycle, on Icarus."""

import json
import subprocess
from pathlib import Path

import pytest

from hw.config import preset
from hw.pe.accumulators import Accumulators
from hw.pe.processing_element import ProcessingElement
from hw.pe.rescale_unit import RescaleUnit
from hw.pe.term_encoder import TermEncoder
from hw.verilog import convert
from synth import asic, liberty, targets, yosys
from synth.measure import measure
from synth.power import gates

BLOCKS = (ProcessingElement, RescaleUnit, Accumulators, TermEncoder)
CYCLES = 1400
SETTLED = 600  # cycles until every register has been written, also one that few inputs write


def bench(ports: dict[str, dict], seed: int) -> str:
    """Both circuits side by side under random inputs."""
    widths = {name: len(port["bits"]) for name, port in ports.items()}
    outputs = [name for name, port in ports.items() if port["direction"] == "output"]
    inputs = [name for name in ports if name not in (*outputs, "clk", "rst")]
    signals = [f"reg [{widths[name] - 1}:0] {name};" for name in inputs]
    signals += [f"wire [{widths[name] - 1}:0] a_{name}, b_{name};" for name in outputs]
    draws = [f"{name} = {{{', '.join(['$urandom(seed)'] * -(-widths[name] // 32))}}};" for name in inputs]
    both = ", ".join([".clk(clk)", *(f".{name}({name})" for name in (*inputs, *({"rst"} & set(ports))))])
    one, other = (", ".join(f".{name}({prefix}_{name})" for name in outputs) for prefix in "ab")
    differs = " || ".join(f"a_{name} !== b_{name}" for name in outputs)
    known = f"^{{{', '.join(f'a_{name}' for name in outputs)}}} !== 1'bx"
    return f"""module bench;
  reg clk = 0, rst = 1;
  integer cycle, seed = {seed}, differing = 0, certain = 0;
  {" ".join(signals)}
  source source ({both}, {one});
  mapped mapped ({both}, {other});
  initial begin
    for (cycle = 0; cycle < {CYCLES}; cycle = cycle + 1) begin
      #1 {" ".join(draws)} if (cycle > 3) rst = 0;
      #1 clk = 1;
      #1 if (cycle > {SETTLED}) begin
        if ({differs}) differing = differing + 1;
        if ({known}) certain = certain + 1;
      end
      #1 clk = 0;
    end
    $display("%0d differing, %0d certain", differing, certain);
    $finish;
  end
endmodule
"""


def check(block: type, target: str, folder: Path, seed: int) -> None:
    """The block's netlist on a target answers as its Verilog does."""
    verilog = convert(block(preset("tiny")), "source")
    recipe = asic.Recipe(mapper="nf")
    measure(verilog, "source", target, recipes=(recipe,), keep=folder)
    folder /= "hierarchical"
    (stem,) = (path.stem for path in folder.glob("nf-*.abc"))
    goal = targets.parse(target)
    script = f"read_rtlil {stem}.il\nrename source mapped\nwrite_verilog -noattr mapped.v\n"
    yosys.run(script, folder, None, "mapped")
    ports = json.loads((folder / "read.json").read_text())["modules"]["source"]["ports"]
    text = (folder / "mapped.v").read_text()
    (folder / "source.v").write_text(verilog)
    used = {name for name in goal.cells if f"  {name} " in text}
    (folder / "models.v").write_text(gates.cell_models(goal, used, folder))
    (folder / "bench.v").write_text(bench(ports, seed))
    files = ("bench.v", "source.v", "mapped.v", "models.v")
    subprocess.run(["iverilog", "-g2012", "-o", "bench", *files], cwd=folder, check=True)
    said = subprocess.run(["vvp", "bench"], cwd=folder, check=True, capture_output=True, text=True).stdout
    differing, certain = (int(word) for word in said.split() if word.isdigit())
    assert differing == 0
    assert certain > 0.9 * (CYCLES - SETTLED)
    assert block is not ProcessingElement or liberty.full_adder(goal.cells.values()).cell in text


@pytest.mark.usefixtures("icarus")
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.__name__)
def test_netlist_behaves_like_its_source(block: type, library: str, tmp_path: Path, rng) -> None:
    check(block, library, tmp_path, int(rng.integers(1 << 31)))


@pytest.mark.usefixtures("icarus")
def test_generic_gates_behave_like_their_source(tmp_path: Path, rng) -> None:
    check(ProcessingElement, "generic", tmp_path, int(rng.integers(1 << 31)))
