// A page of keys, written and read back: float16 -> kv_page_writer -> words -> kv_half_reader -> float16.
`timescale 1ns / 1ps
`include "page_kv_page_writer_ports.vh"
`include "page_kv_half_reader_ports.vh"
module kv_page_tb;
  localparam CHANNELS = `PAGE_KV_PAGE_WRITER_CONFIG_KV_CHANNELS, WIDTH = `PAGE_KV_PAGE_WRITER_WORDS_TDATA_WIDTH;
  localparam ELEMENTS = `PAGE_KV_PAGE_WRITER_CONFIG_KV_PAGE_TOKENS * CHANNELS;  // kv.lanes is 1: one a beat
  localparam WORDS = (32 * CHANNELS + 4 * ELEMENTS) / WIDTH;  // scales and minima, then codes
  // Keys in 4 bits, groups of 16 << 1 tokens of a channel. An exponent of 1: the head has no other page yet.
  localparam [`PAGE_KV_HALF_READER_FORMATS_TDATA_WIDTH-1:0] FORMAT =
      `PAGE_KV_HALF_READER_FORMATS_TDATA_CODING_BITS4 << `PAGE_KV_HALF_READER_FORMATS_TDATA_CODING_LOW |
      `PAGE_KV_HALF_READER_FORMATS_TDATA_SIDE_KEY << `PAGE_KV_HALF_READER_FORMATS_TDATA_SIDE_LOW |
      `PAGE_KV_HALF_READER_FORMATS_TDATA_AXIS_CHANNEL << `PAGE_KV_HALF_READER_FORMATS_TDATA_AXIS_LOW |
      1 << `PAGE_KV_HALF_READER_FORMATS_TDATA_GROUP_LOW | CHANNELS / 16 << `PAGE_KV_HALF_READER_FORMATS_TDATA_CHANNELS_LOW;
  localparam [`PAGE_KV_PAGE_WRITER_FORMATS_TDATA_WIDTH-1:0] RECORD = 1 << `PAGE_KV_PAGE_WRITER_FORMATS_TDATA_TOP_LOW |
      FORMAT << `PAGE_KV_PAGE_WRITER_FORMATS_TDATA_FORM_CODING_LOW;
  reg clk = 0, rst = 1, written = 0, read = 0;
  always #5 clk = ~clk;
  reg [15:0] elements[0:ELEMENTS-1], values[0:ELEMENTS-1];  // what goes in, and what must come back
  reg [WIDTH-1:0] expected[0:WORDS-1];
  integer sent = 0, back = 0, words = 0, wrong = 0, cycles = 0, token, channel;
  wire record_ready, format_ready, element_ready, word_valid, word_ready, word_last, value_valid;
  wire [WIDTH-1:0] word;
  wire [15:0] value;
  wire [`PAGE_KV_HALF_READER_ELEMENTS_TUSER_WIDTH-1:0] place;
  page_kv_page_writer writer (.clk(clk), .rst(rst),
      .formats_tdata(RECORD), .formats_tvalid(!rst && !written), .formats_tready(record_ready),
      .elements_tdata(elements[sent]), .elements_tvalid(!rst && sent < ELEMENTS), .elements_tready(element_ready),
      .elements_tlast(sent == ELEMENTS - 1), .words_tdata(word), .words_tvalid(word_valid), .words_tready(word_ready),
      .words_tlast(word_last), .words_tuser(), .clamped(), .error_format(), .error_short(), .error_long());
  page_kv_half_reader reader (.clk(clk), .rst(rst),
      .formats_tdata(FORMAT), .formats_tvalid(!rst && !read), .formats_tready(format_ready),
      .words_tdata(word), .words_tvalid(word_valid), .words_tready(word_ready), .words_tlast(word_last),
      .elements_tdata(value), .elements_tvalid(value_valid), .elements_tready(1'b1), .elements_tlast(),
      .elements_tuser(place), .error_format(), .error_short(), .error_long(), .error_trits());
  initial begin
    $readmemh("elements.hex", elements);
    $readmemh("words.hex", expected);
    $readmemh("values.hex", values);
    #42 rst = 0;
  end
  always @(posedge clk) if (!rst) begin
    cycles <= cycles + 1;
    if (record_ready) written <= 1;
    if (format_ready) read <= 1;
    if (sent < ELEMENTS && element_ready) sent <= sent + 1;
    if (word_valid && word_ready) words <= words + 1;
    if (word_valid && word_ready && word !== expected[words]) wrong = wrong + 1;
    if (value_valid) begin
      token = place[`PAGE_KV_HALF_READER_ELEMENTS_TUSER_TOKEN_LOW+:`PAGE_KV_HALF_READER_ELEMENTS_TUSER_TOKEN_WIDTH];
      channel = place[`PAGE_KV_HALF_READER_ELEMENTS_TUSER_BEAT_LOW+:`PAGE_KV_HALF_READER_ELEMENTS_TUSER_BEAT_WIDTH];
      if (value !== values[token*CHANNELS+channel]) wrong = wrong + 1;
      back = back + 1;
    end
    if (back == ELEMENTS || cycles > 100000) begin
      $display("%0d words, %0d values back, %0d wrong, %0d cycles", words, back, wrong, cycles);
      $finish;
    end
  end
endmodule
