"""Sizes that follow from a page's format: groups, beats and words, and where the entries of groups lie."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.utils import ceil_log2

from golden.kv.codings import CODINGS, TRITS
from hw.config import Config
from hw.kv.formats import Kind, kind_of
from hw.kv.payloads import HALF_BITS, SHORTEST_GROUP, Axis, Coding, Side

__all__ = ["beats", "code_words", "entries", "entry_address", "is_legal", "last_beat", "metadata_words"]


def is_legal(form: data.View, config: Config) -> Value:
    """Whether a page can have this format: no reserved coding, groups and chunks that divide their axis."""
    coding = form.coding.as_value()
    whole = (form.channels & (1 << form.group) - 1) == 0
    short = SHORTEST_GROUP << form.group <= config.kv.page_tokens
    head = (form.channels > 0) & (form.channels <= config.kv.channels // SHORTEST_GROUP)
    divides = ((form.axis == Axis.TOKEN) & whole) | ((form.axis == Axis.CHANNEL) & short)
    chunks = Const(1)
    if config.rows > SHORTEST_GROUP:
        rest = (form.channels & config.rows // SHORTEST_GROUP - 1).any()
        chunks = (form.side == Side.KEY) | ~rest
    return (coding < len(CODINGS)) & head & divides & chunks


def beats(config: Config) -> int:
    """Most beats of ``kv.lanes`` elements in a token of a head."""
    return config.kv.channels // config.kv.lanes


def last_beat(form, config: Config):
    """Number of a token's last beat."""
    return form.channels * (SHORTEST_GROUP // config.kv.lanes) - 1


def metadata_words(form: data.View, config: Config) -> Value:
    """Words of a page's metadata: a scale of every group, and a minimum where the rule is affine."""
    numbers = config.kv.page_tokens * form.channels  # of a field with groups of 16
    words = numbers[(config.kv.word_bits // HALF_BITS).bit_length() - 1 :] >> form.group
    return Mux(kind_of(form) == Kind.AFFINE, words << 1, words)


def code_words(m: Module, form: data.View, config: Config) -> Signal:
    """Words of a page's codes, the last one filled up."""
    unit = config.kv.page_tokens * SHORTEST_GROUP  # elements of 16 channels
    most = config.kv.channels // SHORTEST_GROUP
    words = Signal(range(_bits_of(unit * most) // config.kv.word_bits + 1))
    trits = Signal.like(words)
    with m.Switch(form.channels):
        for channels in range(1, most + 1):
            with m.Case(channels):
                m.d.comb += trits.eq(-(-unit * channels * 8 // (TRITS * config.kv.word_bits)))
    with m.Switch(form.coding):
        for number, coding in enumerate(CODINGS):
            with m.Case(Coding(number)):
                dense = form.channels * (unit * coding.bits // config.kv.word_bits)
                m.d.comb += words.eq(trits if coding.trits else dense)
    return words


def _bits_of(elements: int) -> int:
    return elements * max(coding.bits for coding in CODINGS)


def entries(config: Config) -> int:
    """Most groups of a page, rounded up so that an entry's address is made of the bits of its indices."""
    return config.kv.page_tokens * stride(config)


def stride(config: Config) -> int:
    """Entries between tokens (axis token); a power of two."""
    return 1 << ceil_log2(config.kv.channels // SHORTEST_GROUP)


def entry_address(form: data.View, token: Value, channel: Value, config: Config) -> Value:
    """Entry of the group that holds an element."""
    inner = ceil_log2(stride(config))
    by_token = Cat((channel >> 4 >> form.group)[:inner], token)
    by_channel = Cat(channel[: inner + 4], (token >> 4 >> form.group)[: max(len(token) - 4, 0)])
    return Mux(form.axis == Axis.TOKEN, by_token, by_channel)
