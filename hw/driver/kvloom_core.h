/* Driver of the kvloom decode core: C99, no library, over three macros of the platform.
 *
 * `kvloom_platform.h` of the platform defines
 *
 *   KVLOOM_READ(context, offset)              the register at a byte offset, a uint32_t
 *   KVLOOM_WRITE(context, offset, value)      writes it
 *   KVLOOM_ALLOCATE(context, bytes, address)  a pointer to memory that the core reaches, from a multiple of
 *                                             4096 on, NULL if there is none; sets *address, a uint64_t, to
 *                                             what the core calls it
 *   KVLOOM_WAIT(context)                      optional: comes back when the interrupt may have been raised;
 *                                             0 gives up
 *
 * Memory is shared without caches between, or with caches that see what the core writes; what the processor
 * stored before KVLOOM_WRITE is in memory when the register changes, and what it loads after KVLOOM_READ is not
 * older than what that returned. The processor and its view of memory are of any byte order.
 */
#ifndef KVLOOM_CORE_H
#define KVLOOM_CORE_H

#include <stddef.h>
#include <stdint.h>

#define KVLOOM_LINE_BYTES 64u
#define KVLOOM_COMMAND_BYTES 64u
#define KVLOOM_COMPLETION_BYTES 16u

enum kvloom_result {
    KVLOOM_OK = 0,
    KVLOOM_NO_CORE,   /* the registers are those of something else */
    KVLOOM_NO_MEMORY, /* there is no room for the window */
    KVLOOM_BAD_RING,  /* the ring, its records, or the commands to come do not fit */
    KVLOOM_GIVEN_UP,  /* the platform did not wait any longer */
    KVLOOM_FAILED,    /* a command or a write to memory failed: see the records */
    KVLOOM_BAD_WINDOW, /* the window begins or ends where no window can */
    KVLOOM_STARTED    /* commands were executed since reset, so window and ring stay */
};

/* What a command left behind. */
struct kvloom_completion {
    uint32_t id;
    uint32_t status; /* 0 done, 1 skipped; the registers' page has the others */
    uint32_t bytes;  /* written to memory */
    uint32_t cycles;
};

struct kvloom_core {
    void *context;     /* of the macros */
    uint8_t *memory;   /* the core's window */
    uint64_t address;  /* what the core calls it */
    size_t bytes;      /* of the window */
    uint32_t ring;     /* commands */
    uint32_t given;    /* commands, modulo 2^32 */
    uint32_t taken;    /* records handed out, modulo 2^32 */
    uint32_t place;    /* of the next one in the ring */
    size_t completions; /* bytes from the window's beginning to record 0 */
};

/* Looks whether there is a core, and allocates its window. Fill `core->memory` then. */
enum kvloom_result kvloom_core_open(struct kvloom_core *core, void *context, size_t bytes);

/* Shows the core its window and its ring, which both stay until reset, and starts it.
 * `ring_line`, `completion_line`: lines of the window with the first command and the first record.
 * `commands`: of the ring.
 * `model`: identity of the image; sequences of another model are refused. */
enum kvloom_result kvloom_core_start(struct kvloom_core *core, uint32_t ring_line, uint32_t commands,
                                     uint32_t completion_line, uint64_t model);

/* Gives the core the next commands of the ring, of which as many must be complete. */
enum kvloom_result kvloom_core_submit(struct kvloom_core *core, uint32_t commands);

/* Waits for a command that has the flag `interrupt`, or for an error. */
enum kvloom_result kvloom_core_wait(struct kvloom_core *core);

/* Goes on behind the command that failed, where it had the flag `stop`. */
void kvloom_core_resume(struct kvloom_core *core);

/* Hands out the records in order, each once, but for those whose places later commands have been given: take
 * them before more is submitted. Returns 0 when the next command is not complete. */
int kvloom_core_next(struct kvloom_core *core, struct kvloom_completion *completion);

#endif
