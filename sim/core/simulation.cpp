#include "simulation.h"

#include <cstring>
#include <memory>
#include <string>

#include "Vtop.h"
#include "memory.h"
#include "verilated.h"
#if VM_TRACE
#include "verilated_vcd_c.h"
#endif

namespace {

constexpr unsigned kWordBytes = sizeof(Vtop::memory_rdata);
constexpr uint64_t kBorder = 4096;
constexpr unsigned kResetCycles = 4;
constexpr unsigned kAnswerCycles = 100'000;  // in which an access to a register is answered

thread_local std::string* assertion = nullptr;  // where the simulation that runs notes one that failed

}  // namespace

// In place of Verilator's own, which ends the process.
void vl_stop(const char*, int line, const char*) {
    if (assertion->empty()) {
        *assertion = "an assertion failed in line " + std::to_string(line) + " of the circuit";
    }
}

struct simulation {
    simulation(size_t bytes, uint64_t base, const kvloom::Timing& timing)
        : memory(bytes, base, kWordBytes, timing), bytes(bytes), base(base) {
        context.traceEverOn(VM_TRACE);
#if VM_TRACE
        top.trace(&waves, 99);
#endif
        reset(kResetCycles);
    }

    ~simulation() {
#if VM_TRACE
        if (waves.isOpen()) waves.close();
#endif
        top.final();
    }

    void reset(unsigned cycles) {
        top.control_awvalid = top.control_wvalid = top.control_bready = 0;
        top.control_arvalid = top.control_rready = 0;
        top.rst = 1;
        for (unsigned cycle = 0; cycle < cycles; ++cycle) {
            memory.reset();
            show(memory.shown());
            edge();
        }
        memory.reset();
        show(memory.shown());
        top.rst = 0;
        settle();
    }

    // Before and after, the clock is low and all has settled.
    void cycle() {
        const kvloom::Master master = shown();
        edge();
        show(memory.edge(master));
        settle();
    }

    void settle() {
        assertion = &failed;
        top.clk = 0;
        top.eval();
        record(2 * edges + 1);
    }

    bool interrupted() const { return top.irq; }

    bool broken() const { return !failed.empty() || !memory.violation().empty(); }

    VerilatedContext context;
    Vtop top{&context, "top"};
    kvloom::Memory memory;
    const size_t bytes;
    const uint64_t base;
    size_t reserved = 0;
    std::string failed;  // assertion
    std::string problem;
#if VM_TRACE
    VerilatedVcdC waves;
    std::string path;
    uint64_t first = 1, last = 0;
#endif

private:
    void edge() {
        assertion = &failed;
        top.clk = 1;
        top.eval();
        record(2 * ++edges);
    }

    kvloom::Master shown() const {
        kvloom::Master master;
        master.write_valid = top.memory_awvalid;
        master.data_valid = top.memory_wvalid;
        master.response_ready = top.memory_bready;
        master.read_valid = top.memory_arvalid;
        master.word_ready = top.memory_rready;
        master.write = {top.memory_awaddr, top.memory_awlen, top.memory_awsize, top.memory_awburst};
        master.read = {top.memory_araddr, top.memory_arlen, top.memory_arsize, top.memory_arburst};
        master.data_last = top.memory_wlast;
        master.enables = top.memory_wstrb;
        std::memcpy(master.data, &top.memory_wdata, kWordBytes);
        return master;
    }

    void show(const kvloom::Slave& slave) {
        top.memory_awready = slave.write_ready;
        top.memory_wready = slave.data_ready;
        top.memory_bvalid = slave.response_valid;
        top.memory_bresp = slave.response;
        top.memory_arready = slave.read_ready;
        top.memory_rvalid = slave.word_valid;
        top.memory_rresp = slave.word_response;
        top.memory_rlast = slave.word_last;
        std::memcpy(&top.memory_rdata, slave.word, kWordBytes);
    }

    // What has settled again is recorded once.
    void record(uint64_t time) {
#if VM_TRACE
        const uint64_t now = memory.counters().cycles;
        if (now < first || now > last) {
            if (waves.isOpen()) waves.close();
            return;
        }
        if (!waves.isOpen()) waves.open(path.c_str());
        if (time > recorded) waves.dump(time);
        recorded = time;
#else
        (void)time;
#endif
    }

    uint64_t edges = 0;
    uint64_t recorded = 0;
};

extern "C" {

simulation* simulation_create(size_t bytes, uint64_t base, const void* timing) {
    return new simulation(bytes, base, *static_cast<const kvloom::Timing*>(timing));
}

void simulation_destroy(simulation* self) { delete self; }

uint8_t* simulation_memory(simulation* self) { return self->memory.bytes(); }

unsigned simulation_word_bytes(void) { return kWordBytes; }

void* simulation_allocate(simulation* self, size_t bytes, uint64_t* address) {
    const size_t first = self->reserved;
    if (bytes > self->bytes - first) return nullptr;
    const size_t after = (first + bytes + kBorder - 1) / kBorder * kBorder;
    self->reserved = after < self->bytes ? after : self->bytes;
    *address = self->base + first;
    return self->memory.bytes() + first;
}

int simulation_write(simulation* self, uint32_t offset, uint32_t value) {
    Vtop& top = self->top;
    top.control_awaddr = offset;
    top.control_wdata = value;
    top.control_wstrb = 0xF;
    top.control_awvalid = top.control_wvalid = top.control_bready = 1;
    self->settle();
    for (unsigned cycle = 0; cycle < kAnswerCycles && !self->broken(); ++cycle) {
        const bool address = top.control_awready, data = top.control_wready, answered = top.control_bvalid;
        const int response = top.control_bresp;
        self->cycle();
        if (address) top.control_awvalid = 0;
        if (data) top.control_wvalid = 0;
        if (answered) top.control_bready = 0;
        self->settle();
        if (answered) return response;
    }
    return -1;
}

int simulation_read(simulation* self, uint32_t offset, uint32_t* value) {
    Vtop& top = self->top;
    top.control_araddr = offset;
    top.control_arvalid = top.control_rready = 1;
    self->settle();
    for (unsigned cycle = 0; cycle < kAnswerCycles && !self->broken(); ++cycle) {
        const bool address = top.control_arready, answered = top.control_rvalid;
        const int response = top.control_rresp;
        *value = top.control_rdata;
        self->cycle();
        if (address) top.control_arvalid = 0;
        if (answered) top.control_rready = 0;
        self->settle();
        if (answered) return response;
    }
    return -1;
}

simulation_end simulation_run(simulation* self, uint64_t cycles) {
    for (uint64_t cycle = 0;; ++cycle) {
        if (self->broken()) return SIMULATION_BROKEN;
        if (self->interrupted()) return SIMULATION_INTERRUPT;
        if (cycle == cycles) return SIMULATION_LIMIT;
        self->cycle();
    }
}

void simulation_reset(simulation* self, unsigned cycles) { self->reset(cycles); }

void simulation_fail(simulation* self, uint64_t first, uint64_t last, uint8_t response) {
    self->memory.fail(first, last, response);
}

void simulation_confine(simulation* self, uint64_t first, uint64_t last) {
    self->memory.confine(first, last);
}

void simulation_pause(simulation* self, uint64_t cycles) { self->memory.pause(cycles); }

void simulation_counters(const simulation* self, void* counters) {
    *static_cast<kvloom::Counters*>(counters) = self->memory.counters();
}

const char* simulation_problem(simulation* self) {
    self->problem = self->failed.empty() ? self->memory.violation() : self->failed;
    return self->problem.c_str();
}

int simulation_record(simulation* self, const char* path, uint64_t first, uint64_t last) {
#if VM_TRACE
    self->path = path;
    self->first = first;
    self->last = last;
    return 0;
#else
    (void)self, (void)path, (void)first, (void)last;
    return -1;
#endif
}
}
