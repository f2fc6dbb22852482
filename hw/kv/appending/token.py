"""A token of one head and side, as the quantiser's parts see it: a page of one token.

Its format is ``golden.kv.schemes.WINDOW``: 8 bits by token, in groups of 32 channels.
"""

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data

from golden.kv import codings
from golden.kv.schemes import WINDOW
from hw.config import Config
from hw.kv.page_shape import beats, groups_of_token
from hw.kv.payloads import SHORTEST_GROUP, Axis, Coding, page_format, token_record
from hw.kv.quantising.page_stage import Records

__all__ = ["CODING", "GROUP", "beats_of_group", "most_groups", "of_tokens", "one_token"]

CODING = Coding(codings.CODINGS.index(WINDOW.coding))
GROUP = WINDOW.group or SHORTEST_GROUP
"""Elements of a group."""

_GROUP_PLACE = GROUP.bit_length() - SHORTEST_GROUP.bit_length()


def one_token(config: Config) -> Config:
    """The configuration of what holds a token, or works on one."""
    return config.model_copy(update={"kv": config.kv.model_copy(update={"page_tokens": 1})})


def beats_of_group(config: Config) -> int:
    """Beats of a group's elements."""
    return GROUP // config.kv.lanes


def most_groups(config: Config) -> int:
    """Groups of a token of the longest head."""
    return beats(config) // beats_of_group(config)


def of_tokens(config: Config) -> Records:
    """What comes ahead of a token: of its format, only side and channels are not the same always."""
    layout = page_format(config)

    def form(m: Module, record: data.View, name: str) -> data.View:
        chosen = Signal(layout, name=name)
        m.d.comb += [
            chosen.coding.eq(CODING),
            chosen.side.eq(record.side),
            chosen.axis.eq(Axis[WINDOW.axis.upper()]),
            chosen.group.eq(_GROUP_PLACE),
            chosen.channels.eq(record.channels),
        ]
        return chosen

    return Records(token_record(config), form, _is_legal)


def _is_legal(form: data.View, config: Config) -> Value:
    """Whole groups, and no more channels than there is room for."""
    whole = (groups_of_token(form) << _GROUP_PLACE) == form.channels
    return whole & (form.channels > 0) & (form.channels <= config.kv.channels // SHORTEST_GROUP)
