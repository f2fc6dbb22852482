"""The generator: ``python -m hw.generate`` writes a block's Verilog and a manifest that describes it.

Streams have the ports of AXI4-Stream. Beside the Verilog lie a page for readers, places of fields as macros
of C and Verilog, and what tools want (``hw.packaging``); for the accelerator also the registers as a C
header, for the core the driver in C, which is the same for all configurations and keeps its names. Equal
configurations give equal bytes on any machine. Files appear complete or not at all.
"""

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from golden.command_line import Parser, program
from hw import blocks, config, driver, manifest, packaging, page, places, verilog
from hw.bus import registers
from hw.bus.axi_ports import AxiPorts
from hw.config import Config, ConfigurationError

__all__ = ["generate", "left_over", "main", "publish"]

_DEFAULT_PRESET = "edge"
_DEFAULT_OUT = Path("build") / "verilog"


def generate(settings: Config, source: str, block: str, prefix: str | None = None) -> dict[str, str]:
    """Make every file of a block.

    Args:
        settings: the configuration.
        source: name of the preset, or of the configuration file without its suffix.
        block: a name in ``blocks.names()``.
        prefix: what the names of all modules and files and the header's guard begin with, so that several
            configurations can lie in one folder and one design; by default modules begin with "kvloom", files
            with ``source``, and the manifest is ``manifest.json``.

    Returns:
        File name to text; the manifest is the last one.

    Raises:
        ConfigurationError: no such block.
    """
    top = f"{prefix or 'kvloom'}_{block}"
    stem = f"{prefix or source}_{block}"
    component = AxiPorts(blocks.get(block)(settings))
    text = _banner(settings, source, block) + verilog.convert(component, top).lstrip()
    files = {f"{stem}.v": text}
    if block == blocks.DEFAULT:
        files[f"{stem}.h"] = registers.c_header(prefix or "kvloom")
    if block == blocks.CORE:
        files |= driver.files()
    description = manifest.describe(component, settings, source, block, top, text)
    files[f"{stem}.md"] = page.markdown(description, component, settings, stem)
    files[f"{stem}_ports.h"] = places.c_header(description)
    files[f"{stem}_ports.vh"] = places.verilog_header(description)
    files |= packaging.companions(description, stem)
    files[f"{stem}.json" if prefix else "manifest.json"] = manifest.as_json(description, files)
    return files


def _banner(settings: Config, source: str, block: str) -> str:
    """Comment lines that say what the Verilog is, with everything that it was made of."""
    values = settings.model_dump(exclude={"types", "kv", "core"})
    values |= {f"kv.{name}": value for name, value in settings.kv.model_dump().items()}
    if block == blocks.CORE:
        values |= {f"core.{name}": value for name, value in settings.core.model_dump().items()}
    fields = " ".join(f"{name}={value}" for name, value in values.items())
    version = ".".join(map(str, registers.VERSION))
    return (
        f"// SPDX-License-Identifier: Apache-2.0\n"
        f"// kvloom {version}, block {block}, configuration {source}; written by hw.generate.\n"
        f"// {fields}\n// types={','.join(settings.types)}\n\n"
    )


def publish(files: Mapping[str, str], out: Path) -> None:
    """Write all files beside ``out``, then move them there, the last one last.

    Raises:
        OSError: the folder or a file cannot be written; what was there before is untouched.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        for name, text in files.items():
            (folder / name).write_bytes(text.encode())
        out.mkdir(exist_ok=True)
        for name in files:
            os.replace(folder / name, out / name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def left_over(files: Mapping[str, str], out: Path) -> list[str]:
    """Files in ``out`` that the manifest of a former run lists and that this one does not write, by name.

    Args:
        files: of this run; the last one is the manifest, which takes the former one's place.
        out: the folder.
    """
    try:
        former = json.loads((out / [*files][-1]).read_text())["files"]
        listed = {entry["name"] for entry in former}
    except (OSError, ValueError, KeyError, TypeError):  # none, or not one of ours
        return []
    return sorted(name for name in listed - files.keys() if (out / Path(name).name).is_file())


def _listing() -> str:
    lines = [f"block  {name:20} {blocks.summary(name)}" for name in blocks.names()]
    lines += [f"preset {name:20} {config.SUMMARIES[name]}" for name in config.presets()]
    return "\n".join(lines)


def _prefix(text: str) -> str:
    """What identifiers of Verilog and C can begin with."""
    if not re.fullmatch(r"[A-Za-z](_?[A-Za-z0-9])*", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} must be letters, digits and single _ between them, a letter first"
        )
    return text


def _parser() -> Parser:
    parser = Parser(prog="python -m hw.generate", description="Write a block's Verilog and its manifest.")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "--preset", metavar="NAME", help=f"named configuration (default: {_DEFAULT_PRESET}); see --list"
    )
    chosen.add_argument("--config", metavar="FILE.toml", type=Path, help="configuration file")
    parser.add_argument(
        "--block",
        metavar="NAME",
        default=blocks.DEFAULT,
        help="block to write (default: %(default)s); see --list",
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=_DEFAULT_OUT, help="folder (default: %(default)s)"
    )
    parser.add_argument(
        "--name",
        metavar="PREFIX",
        type=_prefix,
        help="prefix of modules, files and header guards, for several configurations in one design",
    )
    parser.add_argument("--list", action="store_true", help="show blocks and presets, then stop")
    return parser


def _settings(arguments: argparse.Namespace) -> tuple[Config, str]:
    """The configuration and its name."""
    if arguments.config is not None:
        settings = config.load(arguments.config)
        if not arguments.config.stem.replace("-", "_").isidentifier():
            raise ConfigurationError(
                f"config {arguments.config.name!r} must be named with letters, digits, - and _"
            )
        return settings, arguments.config.stem
    name = _DEFAULT_PRESET if arguments.preset is None else arguments.preset
    return config.preset(name), name


def _require_folder(out: Path) -> None:
    existing = next((part for part in (out, *out.parents) if part.exists()), Path())
    if not existing.is_dir():
        raise ConfigurationError(f"out {str(out)!r} must be a folder, {str(existing)!r} is a file")


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


@program
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    Args:
        arguments: without the program's name; those of the process by default.
    """
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if chosen.list:
        print(_listing())
        return 0
    try:
        settings, source = _settings(chosen)
        blocks.summary(chosen.block)
        _require_folder(chosen.out)
        _say(f"generating {chosen.block} for {source} ...")
        files = generate(settings, source, chosen.block, chosen.name)
        left = left_over(files, chosen.out)
        publish(files, chosen.out)
    except (ConfigurationError, OSError) as error:
        parser.error(str(error))
    for name in files:
        print(chosen.out / name)
    if left:
        _say(f"left from a former run, no longer in the manifest: {', '.join(left)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
