// A matrix-vector product: files of examples/first_product.py in, results compared. One packet, one vector.
`timescale 1ns / 1ps
module accelerator_tb;
  `include "sizes.vh"
  reg clk = 0, rst = 1;
  always #5 clk = ~clk;

  reg [WEIGHT_BITS-1:0] packet[0:PACKET_WORDS-1];
  reg [ACTIVATION_BITS-1:0] vector[0:VECTOR_WORDS-1];
  reg [15:0] expected[0:RESULTS_WORDS-1];
  integer word = 0, beat = 0, row = 0, wrong = 0, cycles = 0, unit;

  wire weights_ready, activations_ready, results_valid, results_last;
  wire [32*UNITS-1:0] results;
  wire [4*UNITS-1:0] keep;

  kvloom_accelerator dut (
      .clk(clk), .rst(rst),
      .weights_tdata(packet[word]), .weights_tvalid(!rst && word < PACKET_WORDS),
      .weights_tready(weights_ready), .weights_tlast(word == PACKET_WORDS - 1),
      .activations_tdata(vector[beat]), .activations_tvalid(!rst && beat < VECTOR_WORDS),
      .activations_tready(activations_ready), .activations_tlast(beat == VECTOR_WORDS - 1),
      .activations_tkeep({ACTIVATION_BITS / 8{1'b1}}), .activations_tuser(2'd0),  // groups of full length
      .results_tdata(results), .results_tvalid(results_valid), .results_tready(1'b1),
      .results_tlast(results_last), .results_tkeep(keep), .results_tuser(),
      // AXI4-Lite may rest: after reset activations are FP16.
      .control_awaddr(8'd0), .control_awvalid(1'b0), .control_awready(), .control_wdata(32'd0),
      .control_wstrb(4'd0), .control_wvalid(1'b0), .control_wready(), .control_bresp(),
      .control_bvalid(), .control_bready(1'b1), .control_araddr(8'd0), .control_arvalid(1'b0),
      .control_arready(), .control_rdata(), .control_rresp(), .control_rvalid(), .control_rready(1'b1)
  );

  initial begin
    $readmemh("packet.hex", packet);
    $readmemh("vector.hex", vector);
    $readmemh("results.hex", expected);
    #42 rst = 0;
  end

  always @(posedge clk) if (!rst) begin
    cycles <= cycles + 1;
    if (word < PACKET_WORDS && weights_ready) word <= word + 1;
    if (beat < VECTOR_WORDS && activations_ready) beat <= beat + 1;
    if (results_valid) for (unit = 0; unit < UNITS; unit = unit + 1) if (keep[4*unit]) begin
      if (results[32*unit+:16] !== expected[row]) wrong = wrong + 1;
      row = row + 1;
    end
    if (results_valid && results_last) begin
      $display("%0d results, %0d wrong, %0d cycles", row, wrong, cycles);
      $finish;
    end
    if (cycles > 10000) begin
      $display("no last result after %0d cycles", cycles);
      $finish;
    end
  end
endmodule
