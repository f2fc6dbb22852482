#include "kvloom_core.h"

#include "kvloom_core_registers.h"
#include "kvloom_platform.h"

#ifndef KVLOOM_WAIT
#define KVLOOM_WAIT(context) 1
#endif

#define IDENTITY 0x6b766c63u /* the letters kvlc */
#define WINDOW_UNIT 4096u    /* a window begins at a multiple of so many bytes */
#define ADDRESS_BITS 40

static uint32_t word(const volatile uint8_t *bytes)
{
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

/* Whether so many bytes from a line on lie in the window. */
static int inside(const struct kvloom_core *core, uint32_t line, uint64_t bytes)
{
    return (uint64_t)line * KVLOOM_LINE_BYTES + bytes <= core->bytes;
}

enum kvloom_result kvloom_core_open(struct kvloom_core *core, void *context, size_t bytes)
{
    if (KVLOOM_READ(context, KVLOOM_CORE_ID) != IDENTITY) {
        return KVLOOM_NO_CORE;
    }
    core->context = context;
    core->bytes = bytes;
    core->memory = KVLOOM_ALLOCATE(context, bytes, &core->address);
    if (core->memory == NULL) {
        return KVLOOM_NO_MEMORY;
    }
    /* The core would take another address without a word. */
    return core->address % WINDOW_UNIT == 0 && core->address + bytes <= (uint64_t)1 << ADDRESS_BITS
               ? KVLOOM_OK
               : KVLOOM_BAD_WINDOW;
}

enum kvloom_result kvloom_core_start(struct kvloom_core *core, uint32_t ring_line, uint32_t commands,
                                     uint32_t completion_line, uint64_t model)
{
    void *const context = core->context;

    if (commands == 0 || !inside(core, ring_line, (uint64_t)commands * KVLOOM_COMMAND_BYTES) ||
        !inside(core, completion_line, (uint64_t)commands * KVLOOM_COMPLETION_BYTES)) {
        return KVLOOM_BAD_RING;
    }
    if (KVLOOM_READ(context, KVLOOM_CORE_HEAD) != 0) {
        return KVLOOM_STARTED;
    }
    core->ring = commands;
    core->given = core->taken = core->place = 0;
    core->completions = (size_t)completion_line * KVLOOM_LINE_BYTES;
    KVLOOM_WRITE(context, KVLOOM_CORE_WINDOW_BASE_LOW, (uint32_t)core->address);
    KVLOOM_WRITE(context, KVLOOM_CORE_WINDOW_BASE_HIGH, (uint32_t)(core->address >> 32));
    KVLOOM_WRITE(context, KVLOOM_CORE_WINDOW_LIMIT, (uint32_t)(core->bytes / KVLOOM_LINE_BYTES));
    KVLOOM_WRITE(context, KVLOOM_CORE_RING_LINE, ring_line);
    KVLOOM_WRITE(context, KVLOOM_CORE_RING_SIZE, commands);
    KVLOOM_WRITE(context, KVLOOM_CORE_COMPLETION_LINE, completion_line);
    KVLOOM_WRITE(context, KVLOOM_CORE_MODEL_LOW, (uint32_t)model);
    KVLOOM_WRITE(context, KVLOOM_CORE_MODEL_HIGH, (uint32_t)(model >> 32));
    KVLOOM_WRITE(context, KVLOOM_CORE_TAIL, 0);
    KVLOOM_WRITE(context, KVLOOM_CORE_IRQ_ENABLE,
                 KVLOOM_CORE_IRQ_ENABLE_ENABLE_COMPLETION_MASK | KVLOOM_CORE_IRQ_ENABLE_ENABLE_ERROR_MASK);
    KVLOOM_WRITE(context, KVLOOM_CORE_CONTROL, KVLOOM_CORE_CONTROL_START_MASK);
    return KVLOOM_OK;
}

enum kvloom_result kvloom_core_submit(struct kvloom_core *core, uint32_t commands)
{
    const uint32_t waiting = core->given - KVLOOM_READ(core->context, KVLOOM_CORE_HEAD);

    if (commands > core->ring - waiting) {
        return KVLOOM_BAD_RING;
    }
    core->given += commands;
    KVLOOM_WRITE(core->context, KVLOOM_CORE_TAIL, core->given);
    return KVLOOM_OK;
}

enum kvloom_result kvloom_core_wait(struct kvloom_core *core)
{
    uint32_t pending;

    while ((pending = KVLOOM_READ(core->context, KVLOOM_CORE_IRQ_PENDING)) == 0) {
        if (!KVLOOM_WAIT(core->context)) {
            return KVLOOM_GIVEN_UP;
        }
    }
    KVLOOM_WRITE(core->context, KVLOOM_CORE_IRQ_PENDING, pending);
    return pending & KVLOOM_CORE_IRQ_PENDING_ERROR_MASK ? KVLOOM_FAILED : KVLOOM_OK;
}

void kvloom_core_resume(struct kvloom_core *core)
{
    KVLOOM_WRITE(core->context, KVLOOM_CORE_CONTROL, KVLOOM_CORE_CONTROL_START_MASK);
}

int kvloom_core_next(struct kvloom_core *core, struct kvloom_completion *completion)
{
    const uint32_t open = core->given - core->taken;
    const volatile uint8_t *record;

    if (open > core->ring) {
        core->taken += open - core->ring;
        core->place = (core->place + (open - core->ring) % core->ring) % core->ring;
    }
    if (core->taken == KVLOOM_READ(core->context, KVLOOM_CORE_HEAD)) {
        return 0;
    }
    record = core->memory + core->completions + (size_t)core->place * KVLOOM_COMPLETION_BYTES;
    completion->id = word(record);
    completion->status = word(record + 4);
    completion->bytes = word(record + 8);
    completion->cycles = word(record + 12);
    core->taken += 1;
    core->place = (core->place + 1) % core->ring;
    return 1;
}
