"""Sizes that follow from a page's format: groups, beats and words, and where the entries of groups lie."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.utils import ceil_log2, exact_log2

from golden.kv.codings import CODINGS, TRITS
from hw.config import Config
from hw.kv.formats import BITMOD_NAMES, DENSE_BITS, Kind, is_bitmod, kind_of
from hw.kv.payloads import CODE_BITS, HALF_BITS, SELECTOR_BITS, SHORTEST_GROUP, Axis, Coding, Side

__all__ = [
    "beats",
    "channels",
    "code_words",
    "entries",
    "entry_address",
    "field_words",
    "group_length",
    "groups_of_token",
    "in_groups",
    "is_legal",
    "last_beat",
    "metadata_words",
]


def is_legal(form: data.View, config: Config) -> Value:
    """Whether a page can have this format: no reserved coding, groups and chunks that divide their axis.

    Scales, minima and codes begin with a word each. Words of at most 256 bits always allow it; longer ones
    may need more channels, where a group consists of tokens. Selectors of BitMoD's types fill words as well.
    """
    coding = form.coding.as_value()
    whole = (form.channels & (1 << form.group) - 1) == 0
    short = group_length(form) <= config.kv.page_tokens
    head = (form.channels > 0) & (form.channels <= config.kv.channels // SHORTEST_GROUP)
    divides = ((form.axis == Axis.TOKEN) & whole) | ((form.axis == Axis.CHANNEL) & short)
    chunks = Const(1)
    if config.rows > SHORTEST_GROUP:
        rest = (form.channels & config.rows // SHORTEST_GROUP - 1).any()
        chunks = (form.side == Side.KEY) | ~rest
    words = Const(1)
    if config.memory_bits > SHORTEST_GROUP * HALF_BITS:
        rest = _shortest_groups(form, config) & (config.memory_bits // HALF_BITS << form.group) - 1
        words = rest == 0
    legal = (coding < len(CODINGS)) & head & divides & chunks & words
    if config.page_tables:
        only = form.magnitude & (form.coding == Coding.BITS4) & ~is_bitmod(form, config)
        legal = legal & (~form.table | only)
    if not config.kv.bitmod:
        return legal
    rest = _shortest_groups(form, config) & (config.memory_bits // SELECTOR_BITS << form.group) - 1
    has_type = Cat(form.coding == coding for coding in BITMOD_NAMES).any()
    return legal & (~form.bitmod | (form.magnitude & has_type & (rest == 0)))


def channels(form: data.View) -> Value:
    """Channels of the head."""
    return form.channels * SHORTEST_GROUP


def group_length(form: data.View) -> Value:
    """Elements of a group."""
    return SHORTEST_GROUP << form.group


def in_groups(form: data.View, elements: Value) -> Value:
    """Elements divided by the length of a group, rounded down: how many groups, or which one."""
    return elements >> exact_log2(SHORTEST_GROUP) >> form.group


def groups_of_token(form: data.View) -> Value:
    """Groups of a token (axis token)."""
    return form.channels >> form.group


def beats(config: Config) -> int:
    """Most beats of ``kv.lanes`` elements in a token of a head."""
    return config.kv.channels // config.kv.lanes


def last_beat(form: data.View, config: Config) -> Value:
    """Number of a token's last beat."""
    return form.channels * (SHORTEST_GROUP // config.kv.lanes) - 1


def field_words(form: data.View, config: Config) -> Value:
    """Words of a field of a page's metadata: a number of every group."""
    return _shortest_groups(form, config)[exact_log2(config.memory_bits // HALF_BITS) :] >> form.group


def _shortest_groups(form: data.View, config: Config) -> Value:
    """Groups of a page if they are as short as can be."""
    return config.kv.page_tokens * form.channels


def metadata_words(form: data.View, config: Config) -> Value:
    """Words of a page's metadata: a scale of every group, and a minimum or a selector where there is one."""
    words = field_words(form, config)
    others = words
    if config.kv.bitmod:
        others = words + Mux(form.bitmod, words >> exact_log2(HALF_BITS // SELECTOR_BITS), 0)
    return Mux(kind_of(form) == Kind.AFFINE, words << 1, others)


def code_words(m: Module, form: data.View, config: Config) -> Signal:
    """Words of a page's codes, the last one filled up."""
    unit = config.kv.page_tokens * SHORTEST_GROUP  # elements of 16 channels
    most = config.kv.channels // SHORTEST_GROUP
    words = Signal(range(unit * most * CODE_BITS // config.memory_bits + 1))
    trits = Signal.like(words)
    with m.Switch(form.channels):
        for count in range(1, most + 1):
            with m.Case(count):
                m.d.comb += trits.eq(-(-unit * count * 8 // (TRITS * config.memory_bits)))
    with m.Switch(form.coding):
        with m.Case(Coding.TRITS):
            m.d.comb += words.eq(trits)
        for coding, bits in DENSE_BITS.items():
            with m.Case(coding):
                m.d.comb += words.eq(form.channels * (unit * bits // config.memory_bits))
    return words


def entries(config: Config) -> int:
    """Most groups of a page, rounded up so that an entry's address is made of the bits of its indices.

    Each lane has at least one.
    """
    return max(config.kv.page_tokens * _stride(config), config.kv.lanes)


def _stride(config: Config) -> int:
    """Entries between tokens (axis token); a power of two."""
    return 1 << ceil_log2(config.kv.channels // SHORTEST_GROUP)


def entry_address(form: data.View, token: Value, channel: Value, config: Config) -> Value:
    """Entry of the group that holds an element.

    That is token * (longest head / 16) + channel / group (axis token), or token / group * (longest head) +
    channel (axis channel), a head's length being rounded up to a power of two.
    """
    inner = ceil_log2(_stride(config))
    by_token = Cat(in_groups(form, channel)[:inner], token)
    by_channel = Cat(channel[: inner + 4], in_groups(form, token)[: max(len(token) - 4, 0)])
    return Mux(form.axis == Axis.TOKEN, by_token, by_channel)
