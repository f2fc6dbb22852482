// Has the ports of the decode core, and copies memory: what the callable core's own tests run on.
//
// Registers: 0 source, 4 destination, 8 words, 12 words of a burst, 16 fault; a write to 20 starts.
// Faults: 1 the read address changes while stalled, 2 the write address does, 3 written data do, 4 an assertion fails,
// 5 written data have no mark of the last one.
module top #(parameter WIDTH = 256) (
    input clk, input rst, output reg irq,
    input [7:0] control_awaddr, input control_awvalid, output control_awready,
    input [31:0] control_wdata, input [3:0] control_wstrb, input control_wvalid, output control_wready,
    output [1:0] control_bresp, output reg control_bvalid, input control_bready,
    input [7:0] control_araddr, input control_arvalid, output control_arready,
    output reg [31:0] control_rdata, output [1:0] control_rresp, output reg control_rvalid, input control_rready,
    output [39:0] memory_awaddr, output [7:0] memory_awlen, output [2:0] memory_awsize,
    output [1:0] memory_awburst, output memory_awvalid, input memory_awready,
    output [WIDTH-1:0] memory_wdata, output [WIDTH/8-1:0] memory_wstrb, output memory_wlast,
    output memory_wvalid, input memory_wready,
    input [1:0] memory_bresp, input memory_bvalid, output memory_bready,
    output [39:0] memory_araddr, output [7:0] memory_arlen, output [2:0] memory_arsize,
    output [1:0] memory_arburst, output memory_arvalid, input memory_arready,
    input [WIDTH-1:0] memory_rdata, input [1:0] memory_rresp, input memory_rlast,
    input memory_rvalid, output memory_rready
);
    localparam BYTES = WIDTH / 8;
    reg [31:0] registers [0:15];  // 6: responses that were errors; 7: reads without the mark of the last word
    reg [31:0] asked, taken, addressed, written, answered;  // words
    reg [WIDTH-1:0] words [0:255];
    reg running, sent;
    wire [31:0] total = registers[2];
    wire [31:0] burst = registers[3];
    wire [31:0] fault = registers[4];

    assign control_awready = control_wvalid & control_awvalid & ~control_bvalid;
    assign control_wready = control_awready;
    assign control_arready = ~control_rvalid;
    assign control_bresp = 0;
    assign control_rresp = 0;

    // Reads keep room for what they ask for; each burst begins on a multiple of its length.
    assign memory_arvalid = running & asked < total & asked + burst - written <= 256;
    assign memory_araddr = registers[0] + asked * BYTES + (fault == 1 & stalled ? 4096 : 0);
    assign memory_arlen = (total - asked < burst ? total - asked : burst) - 1;
    assign memory_arsize = $clog2(BYTES);
    assign memory_arburst = 1;
    assign memory_rready = 1;

    // Writes of one word each; an address may come before its data or behind them.
    assign memory_awvalid = addressed < taken;
    assign memory_awaddr = registers[1] + addressed * BYTES + (fault == 2 & stalled ? BYTES : 0);
    assign memory_awlen = 0;
    assign memory_awsize = $clog2(BYTES);
    assign memory_awburst = 1;
    assign memory_wvalid = written < taken;
    assign memory_wdata = words[written[7:0]] ^ (fault == 3 & stalled);
    assign memory_wstrb = {BYTES{1'b1}};
    assign memory_wlast = fault != 5;
    assign memory_bready = 1;

    reg stalled;  // turns in every cycle
    always @(posedge clk) begin
        stalled <= ~stalled;
        control_bvalid <= control_awready | control_bvalid & ~control_bready;
        if (control_awready) registers[control_awaddr[5:2]] <= control_wdata;
        control_rvalid <= control_arvalid & control_arready | control_rvalid & ~control_rready;
        if (control_arready) control_rdata <= registers[control_araddr[5:2]];

        if (memory_arvalid & memory_arready) asked <= asked + memory_arlen + 1;
        if (memory_rvalid) begin
            words[taken[7:0]] <= memory_rdata;
            taken <= taken + 1;
            if (memory_rresp != 0) registers[6] <= registers[6] + 1;
            if (memory_rlast != ((taken + 1) % burst == 0 | taken + 1 == total)) registers[7] <= 1;
        end
        if (memory_awvalid & memory_awready) addressed <= addressed + 1;
        if (memory_wvalid & memory_wready) written <= written + 1;
        if (memory_bvalid) begin
            answered <= answered + 1;
            if (memory_bresp != 0) registers[6] <= registers[6] + 1;
        end
        if (running & answered == total) begin
            running <= 0;
            irq <= 1;
        end
        if (control_awready & control_awaddr[5:2] == 5) begin
            running <= 1;
            irq <= 0;
            {asked, taken, addressed, written, answered} <= 0;
            registers[6] <= 0;
            registers[7] <= 0;
        end
        if (rst) begin
            {running, irq, control_bvalid, control_rvalid, stalled} <= 0;
            {asked, taken, addressed, written, answered} <= 0;
        end
    end
    always @* if (fault == 4) assert (~running);
endmodule
