// A page of keys: float16 elements of examples/kv_page.py in, words of the packed page compared. kv.lanes is 1.
`timescale 1ns / 1ps
module kv_page_tb;
  `include "sizes.vh"
  reg clk = 0, rst = 1;
  always #5 clk = ~clk;

  reg [RECORD_BITS-1:0] record[0:0];
  reg [15:0] elements[0:ELEMENTS_COUNT-1];
  reg [WORD_BITS-1:0] expected[0:WORDS_COUNT-1];
  integer sent = 0, element = 0, word = 0, wrong = 0, cycles = 0;

  wire formats_ready, elements_ready, words_valid;
  wire [WORDS_BITS-1:0] words;

  kvloom_kv_page_writer dut (
      .clk(clk), .rst(rst),
      // The record comes ahead of the page: its format and the largest exponent so far.
      .formats_payload(record[0]), .formats_valid(!rst && sent == 0), .formats_ready(formats_ready),
      // Token after token; the bit above the element closes the page.
      .elements_payload({element == ELEMENTS_COUNT - 1, elements[element]}),
      .elements_valid(!rst && element < ELEMENTS_COUNT), .elements_ready(elements_ready),
      .words_payload(words), .words_valid(words_valid), .words_ready(1'b1),
      .clamped(), .error_format(), .error_short(), .error_long()
  );

  initial begin
    $readmemh("record.hex", record);
    $readmemh("elements.hex", elements);
    $readmemh("words.hex", expected);
    #42 rst = 0;
  end

  always @(posedge clk) if (!rst) begin
    cycles <= cycles + 1;
    if (sent == 0 && formats_ready) sent <= 1;
    if (element < ELEMENTS_COUNT && elements_ready) element <= element + 1;
    if (words_valid) begin
      if (words[WORD_BITS-1:0] !== expected[word]) wrong = wrong + 1;
      word = word + 1;
      if (words[LAST_BIT]) begin
        $display("%0d words, %0d wrong, %0d cycles", word, wrong, cycles);
        $finish;
      end
    end
    if (cycles > 100000) begin
      $display("no last word after %0d cycles", cycles);
      $finish;
    end
  end
endmodule
