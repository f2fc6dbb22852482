"""The array against a conventional multiplier: ``python -m synth.compare``.

Both are measured by the same flow at the same clock. A tile does several multiplications a cycle, so the
areas of one multiplication a cycle are compared.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from golden.command_line import Parser
from synth import asic, command, render, targets
from synth.area import AreaReport, Component
from synth.measure import measure

__all__ = ["Comparison", "compare", "main"]

_EPILOG = """\
example:
  python -m synth.compare --target nangate45.lib.gz --period 1.0 --out comparison/
"""


@dataclass(frozen=True)
class Comparison:
    """A block against the baseline; areas for one multiplication a cycle.

    Attributes:
        block: the block's result.
        baseline: the baseline's result.
        datatype: data type compared.
    """

    block: render.Result
    baseline: render.Result
    datatype: str

    def area_per_mac(self, result: render.Result) -> float:
        """Area of one multiplication a cycle; a block without a rate for the type does one."""
        return result.report.area / result.macs.get(self.datatype, 1.0)

    @property
    def ratio(self) -> float:
        """How many times smaller the block is than the baseline."""
        return self.area_per_mac(self.baseline) / self.area_per_mac(self.block)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        sides = (("block", self.block), ("baseline", self.baseline))
        return {
            "datatype": self.datatype,
            "ratio": self.ratio,
            **{f"area_per_mac_{name}": self.area_per_mac(result) for name, result in sides},
            **{name: render.to_dict(result) for name, result in sides},
        }

    def rows(self) -> list[tuple[str, str, str]]:
        """What is compared: label, block, baseline."""
        pair = (self.block, self.baseline)
        reports = (self.block.report, self.baseline.report)
        unit = reports[0].unit
        lines = {
            f"area ({unit})": [render.number(report.area) for report in reports],
            f"multiplications a cycle, {self.datatype}": [
                f"{r.macs.get(self.datatype, 1.0):g}" for r in pair
            ],
            f"area of one a cycle ({unit})": [render.number(self.area_per_mac(result)) for result in pair],
            "shortest period (ns)": [_shortest(report) for report in reports],
            f"period of {reports[0].period:g} ns": ["met" if report.met else "NOT met" for report in reports],
            "memory left whole (bits)": [render.number(report.memory_bits) for report in reports],
            "flow": [report.recipe for report in reports],
            "largest component": [_largest(report) for report in reports],
        }
        return [(label, block, baseline) for label, (block, baseline) in lines.items()]

    def verdict(self) -> str:
        """The result in one sentence."""
        block, baseline = self.block.report, self.baseline.report
        more = (
            f"{self.ratio:.2f} times less area than"
            if self.ratio >= 1
            else f"{1 / self.ratio:.2f} times the area of"
        )
        caveat = "" if block.met and baseline.met else " (not every period is met)"
        if block.memory_bits or baseline.memory_bits:
            caveat += " (memory left whole is not in the areas)"
        return (
            f"{block.top} needs {more} {baseline.top} for one {self.datatype} multiplication a cycle{caveat}"
        )


def _shortest(report: AreaReport) -> str:
    return f"{report.timing.min_period:.3f} ({report.timing.source})" if report.timing else "unknown"


def _largest(report: AreaReport) -> str:
    part: Component = report.components[0]
    whole = sum(component.own_area for component in report.components) or 1.0
    return f"{part.name}, {100 * part.own_area / whole:.0f} %"


def compare(
    config: Any,
    target: str,
    period: float | None,
    *,
    block: str = "tile",
    baseline: str = "fp16_mac",
    datatype: str | None = None,
    recipes: tuple[asic.Recipe, ...] | None = None,
    progress: Any = lambda _: None,
) -> Comparison:
    """Measure a block and the baseline by the same flow.

    Args:
        config: configuration of both.
        target: a standard-cell target.
        period: clock period in ns; None for the target's own.
        block: name of the block.
        baseline: name of the baseline block.
        datatype: data type compared; None takes the block's fastest of 4 bits (a name with ``4``).
        recipes: ways to try; None tries all.
        progress: called with a few words before each step.

    Raises:
        ValueError: the block has no rate for the data type.
    """
    rates = command.macs_per_cycle(block, config)
    datatype = datatype or _four_bits(rates)
    if datatype not in rates:
        raise ValueError(
            f"datatype: {datatype!r} must be one of {', '.join(rates) or 'none: it does not multiply'}"
        )
    block_result, baseline_result = (
        render.Result(
            measure(command.build(name, config), name, target, period, recipes=recipes, progress=progress),
            command.macs_per_cycle(name, config),
        )
        for name in (block, baseline)
    )
    return Comparison(block_result, baseline_result, datatype)


def _four_bits(rates: dict[str, float]) -> str:
    four = {name: rate for name, rate in rates.items() if "4" in name}
    return max(four or rates, key=lambda name: rates[name], default="")


def parser() -> Parser:
    """The command line."""
    found = Parser(
        prog="python -m synth.compare",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = found.add_argument
    add("--preset", type=command.preset_name, default="edge", metavar="NAME", help="configuration (edge)")
    add("--config", type=Path, metavar="FILE.toml", help="configuration file instead of a preset")
    add(
        "--target",
        type=_asic_name,
        default="generic",
        metavar="TARGET",
        help="generic or Liberty files (generic)",
    )
    add("--period", type=command.positive, metavar="NS", help="clock period in ns (each library has its own)")
    add("--block", type=command.block_name, default="tile", metavar="NAME", help="block (tile)")
    add("--baseline", type=command.block_name, default="fp16_mac", metavar="NAME", help="baseline (fp16_mac)")
    add("--datatype", metavar="NAME", help="data type compared (the block's fastest of 4 bits)")
    add(
        "--quick",
        action="store_true",
        help="one fast mapper for everything: larger, much sooner",
    )
    add("--out", type=command.folder, metavar="DIR", help="write comparison.json and comparison.md here")
    return found


def _asic_name(text: str) -> str:
    name = command.target_name(text)
    if isinstance(targets.parse(name), targets.Fpga):
        raise argparse.ArgumentTypeError(
            f"{text!r} must be generic or Liberty files: FPGA areas do not add up"
        )
    return name


def _compare(arguments: argparse.Namespace) -> None:
    presets = [] if arguments.config else [arguments.preset]
    ((_, config),) = command.configurations(presets, arguments.config).items()
    console = Console()
    with console.status("") as status:
        result = compare(
            config,
            arguments.target,
            arguments.period,
            block=arguments.block,
            baseline=arguments.baseline,
            datatype=arguments.datatype,
            recipes=command.ways(arguments.target, arguments.quick, flatten=False),
            progress=status.update,
        )
    heads = ("", result.block.report.top, result.baseline.report.top)
    table = Table(*heads, header_style="bold", title=f"on {result.block.report.target}", title_justify="left")
    for row in result.rows():
        table.add_row(*row)
    console.print(table)
    console.print(f"[bold]{result.verdict()}")
    if arguments.out:
        command.publish(arguments.out, lambda folder: write(result, folder))
        console.print(f"written to {arguments.out}: comparison.json and comparison.md")


def write(result: Comparison, folder: Path) -> None:
    """Write comparison.json and comparison.md."""
    heads = ("", result.block.report.top, result.baseline.report.top)
    lines = [
        f"# {heads[1]} against {heads[2]} on {result.block.report.target}",
        "",
        f"{result.verdict()}.",
        "",
        *render.table(heads, result.rows()),
        "",
        render.markdown([result.block, result.baseline], {}).replace("# ", "## "),
    ]
    (folder / "comparison.json").write_text(command.as_json(result.to_dict()))
    (folder / "comparison.md").write_text("\n".join(lines))


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    return command.run(parser(), _compare, argv)


if __name__ == "__main__":
    raise SystemExit(main())
