"""A testbench to begin with: a block in a frame that resets it and sees that it comes up."""

from collections.abc import Mapping
from typing import Any

__all__ = ["frame", "offers"]

_FRAME = """\
// A testbench to begin with: {top} is reset and stays without input; every valid that it drives must be
// known and low. Give the inputs beats where they are zero here; the page says what they mean.
`timescale 1ns / 1ps
module {top}_tb;
  reg clk = 0, rst = 1;
  always #5 clk = ~clk;

{inputs}
{outputs}

  {top} dut (
{connections}
  );

  integer cycles = 0, wrong = 0;
  always @(posedge clk) begin
    cycles <= cycles + 1;
    if (cycles == {reset}) rst <= 0;
    if (cycles > {reset} + 1 && {{{offers}}} !== {count}'b0) wrong = wrong + 1;
    if (cycles == {cycles}) begin
      $display("%0d cycles without input, %0d with an output that is not still", cycles, wrong);
      $finish;
    end
  end
endmodule
"""

_RESET = 4
_CYCLES = 200


def offers(description: Mapping[str, Any]) -> list[str]:
    """Ports that say whether an output stream or a bus has something."""
    ports = [port["name"] for port in description["ports"] if port["direction"] == "output"]
    return [name for name in ports if name.endswith("valid")]


def frame(description: Mapping[str, Any]) -> str:
    """The testbench, in Verilog-2001; its top is TOP_tb.

    Args:
        description: of the block, as of ``hw.manifest.describe``: one with a clock and an output stream.
    """
    ports = description["ports"]
    names = ["clk", "rst", *(port["name"] for port in ports)]
    return _FRAME.format(
        top=description["top"],
        inputs="\n".join(_declaration(port) for port in ports if port["direction"] == "input"),
        outputs="\n".join(_declaration(port) for port in ports if port["direction"] == "output"),
        connections=",\n".join(f"      .{name}({name})" for name in names),
        offers=", ".join(offers(description)),
        count=len(offers(description)),
        reset=_RESET,
        cycles=_CYCLES,
    )


def _declaration(port: Mapping[str, Any]) -> str:
    """An input is taken from a register: every ready is high, all else is low."""
    bits = f"[{port['width'] - 1}:0] " if port["width"] > 1 else ""
    if port["direction"] == "output":
        return f"  wire {bits}{port['name']};"
    return f"  reg {bits}{port['name']} = {int(port['name'].endswith('ready'))};"
