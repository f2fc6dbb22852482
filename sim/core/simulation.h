/* The Verilated decode core and its memory, as one object. Every call is from one thread. */
#ifndef KVLOOM_SIMULATION_H
#define KVLOOM_SIMULATION_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct simulation;

enum simulation_end {
    SIMULATION_INTERRUPT = 0, /* the core asks for attention */
    SIMULATION_LIMIT = 1,     /* the cycles are over */
    SIMULATION_BROKEN = 2     /* see simulation_problem */
};

/* Memory of zeros at a bus address, and a core that has been reset. `timing`: struct Timing of memory.h. */
struct simulation *simulation_create(size_t bytes, uint64_t base, const void *timing);
void simulation_destroy(struct simulation *simulation);

uint8_t *simulation_memory(struct simulation *simulation);
/* Bytes of a word of memory. */
unsigned simulation_word_bytes(void);
/* Reserves bytes from a border of 4 KiB on; NULL when there is no room. `address` is what the core calls them. */
void *simulation_allocate(struct simulation *simulation, size_t bytes, uint64_t *address);

/* One access over AXI4-Lite; what is read of a register that does not exist is 0. Returns the response, 0 OKAY,
   or -1 where the core does not answer. */
int simulation_write(struct simulation *simulation, uint32_t offset, uint32_t value);
int simulation_read(struct simulation *simulation, uint32_t offset, uint32_t *value);

/* Runs until the interrupt is raised, or for so many cycles. */
enum simulation_end simulation_run(struct simulation *simulation, uint64_t cycles);
void simulation_reset(struct simulation *simulation, unsigned cycles);

/* What the memory does, see memory.h. */
void simulation_fail(struct simulation *simulation, uint64_t first, uint64_t last, uint8_t response);
void simulation_confine(struct simulation *simulation, uint64_t first, uint64_t last);
void simulation_pause(struct simulation *simulation, uint64_t cycles);

/* `counters`: struct Counters of memory.h. */
void simulation_counters(const struct simulation *simulation, void *counters);
/* The first assertion that failed or the first rule of AXI that was broken; empty if there is none. */
const char *simulation_problem(struct simulation *simulation);
/* Records cycles first..last as VCD; 0, or -1 where the core was built without waveforms. */
int simulation_record(struct simulation *simulation, const char *path, uint64_t first, uint64_t last);

#ifdef __cplusplus
}
#endif

#endif
