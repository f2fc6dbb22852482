// Attention of a KV head on packed pages: queries and pages of golden.h in, outputs compared. One list.
#include <cstdio>
#include <cstdint>

#include "Vhead_attention.h"
#include "golden.h"
#include "head_attention_ports.h"

#define PAGE_FIELD(NAME, VALUE) (static_cast<uint64_t>(VALUE) << HEAD_ATTENTION_PAGES_TDATA_##NAME##_LOW)

enum { CHANNELS = HEAD_ATTENTION_CONFIG_KV_CHANNELS, LANES = HEAD_ATTENTION_QUERIES_TDATA_ELEMENTS_COUNT0 };
enum { BEATS = CHANNELS / LANES, SPAN = HEAD_ATTENTION_CONFIG_KV_PAGE_TOKENS };

// The record of a page: 4 bits, keys in groups of 32 tokens of a channel, values in groups of 32 channels.
static uint64_t record(int page, int side) {
  const int left = TOKENS - page * SPAN;
  const uint64_t axis = side ? HEAD_ATTENTION_PAGES_TDATA_FORM_AXIS_TOKEN : HEAD_ATTENTION_PAGES_TDATA_FORM_AXIS_CHANNEL;
  return PAGE_FIELD(FORM_CODING, HEAD_ATTENTION_PAGES_TDATA_FORM_CODING_BITS4) | PAGE_FIELD(FORM_SIDE, side) |
         PAGE_FIELD(FORM_AXIS, axis) | PAGE_FIELD(FORM_GROUP, 1) | PAGE_FIELD(FORM_CHANNELS, CHANNELS / 16) |
         PAGE_FIELD(LAST_QUERY, QUERIES - 1) | PAGE_FIELD(LAST, (left < SPAN ? left : SPAN) - 1) |
         PAGE_FIELD(TOP, tops[side]) | PAGE_FIELD(OPENS, page == 0) | PAGE_FIELD(CLOSES, page == PAGES - 1);
}

int main() {
  // Keys one page ahead of values: K0, K1, V0, K2, V1, V2.
  int order[2 * PAGES][2], count = 0;
  for (int page = 0; page <= PAGES; ++page) {
    if (page < PAGES) order[count][0] = page, order[count++][1] = 0;
    if (page > 0) order[count][0] = page - 1, order[count++][1] = 1;
  }
  Vhead_attention dut;
  int beat = 0, listed = 0, sent = 0, word = 0, found = 0, wrong = 0, cycles = 0;
  for (; found < QUERIES * CHANNELS && cycles < 100000; ++cycles) {
    dut.clk = 0;
    dut.rst = cycles < 2;
    dut.queries_tvalid = !dut.rst && beat < QUERIES * BEATS;
    dut.pages_tvalid = !dut.rst && listed < count;
    dut.words_tvalid = !dut.rst && sent < count;
    dut.outputs_tready = dut.scores_tready = dut.found_tready = 1;
    if (dut.queries_tvalid) {
      dut.queries_tdata = 0;
      for (int lane = 0; lane < LANES; ++lane)
        dut.queries_tdata |= static_cast<uint64_t>(queries[beat / BEATS][beat % BEATS * LANES + lane]) << 16 * lane;
      dut.queries_tlast = beat % BEATS == BEATS - 1;
      dut.queries_tuser = CHANNELS / 16 << HEAD_ATTENTION_QUERIES_TUSER_CHANNELS_LOW |
                          (beat == QUERIES * BEATS - 1) << HEAD_ATTENTION_QUERIES_TUSER_ENDS_LOW;
    }
    if (dut.pages_tvalid) dut.pages_tdata = record(order[listed][0], order[listed][1]);
    if (dut.words_tvalid) {
      dut.words_tdata = words[order[sent][1]][order[sent][0]][word];
      dut.words_tlast = word == WORDS - 1;
    }
    dut.eval();
    const bool query = dut.queries_tvalid && dut.queries_tready, page = dut.pages_tvalid && dut.pages_tready;
    const bool moved = dut.words_tvalid && dut.words_tready;
    if (dut.outputs_tvalid && !dut.rst) {
      wrong += dut.outputs_tdata != outputs[found / CHANNELS][found % CHANNELS] || dut.outputs_tuser;
      ++found;
    }
    dut.clk = 1;
    dut.eval();
    beat += query;
    listed += page;
    if (moved && ++word == WORDS) word = 0, ++sent;
  }
  printf("%d outputs, %d wrong, %d cycles\n", found, wrong, cycles);
  return wrong || found < QUERIES * CHANNELS;
}
