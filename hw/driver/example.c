/* Continues a prompt, without an operating system or a library.
 *
 * `kvloom_platform.h` is the board's. Where registers are mapped into memory and the core's addresses are the
 * processor's, it is no more than
 *
 *   #define KVLOOM_READ(context, offset) (*(volatile uint32_t *)((uintptr_t)(context) + (offset)))
 *   #define KVLOOM_WRITE(context, offset, value) (KVLOOM_READ(context, offset) = (value))
 *   #define KVLOOM_ALLOCATE(context, bytes, address) (*(address) = (uintptr_t)window, (void *)window)
 */
#include "example.h"

/* Words of the line of a sequence's state. */
enum { PROMPT = 1, STOPPED = 6 };

static volatile uint8_t *word_at(const struct kvloom_core *core, uint32_t line, uint32_t word)
{
    return core->memory + (size_t)line * KVLOOM_LINE_BYTES + 4 * (size_t)word;
}

static uint32_t load(const struct kvloom_core *core, uint32_t line, uint32_t word)
{
    const volatile uint8_t *bytes = word_at(core, line, word);

    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static void store(const struct kvloom_core *core, uint32_t line, uint32_t word, uint32_t value)
{
    volatile uint8_t *bytes = word_at(core, line, word);
    unsigned byte;

    for (byte = 0; byte < 4; ++byte) {
        bytes[byte] = (uint8_t)(value >> 8 * byte);
    }
}

enum kvloom_result kvloom_continue(void *context, const struct kvloom_image *image, const uint32_t *prompt,
                                   uint32_t count, uint32_t most, void (*found)(uint32_t token))
{
    struct kvloom_core core;
    enum kvloom_result result;
    uint32_t position, place;
    size_t byte;

    if ((result = kvloom_core_open(&core, context, image->size)) != KVLOOM_OK) {
        return result;
    }
    for (byte = 0; byte < image->size; ++byte) {
        core.memory[byte] = image->bytes[byte];
    }
    for (place = 0; place < count; ++place) {
        store(&core, image->tokens, place, prompt[place]);
    }
    store(&core, image->sequence, PROMPT, count);
    result = kvloom_core_start(&core, image->ring, image->commands, image->completions);

    /* The ring's commands take the sequence one token further. */
    for (position = 1; result == KVLOOM_OK && position < count + most && position < image->limit; ++position) {
        if ((result = kvloom_core_submit(&core, image->commands)) != KVLOOM_OK ||
            (result = kvloom_core_wait(&core)) != KVLOOM_OK) {
            break;
        }
        if (load(&core, image->sequence, STOPPED)) {
            break;
        }
        if (position >= count) {
            found(load(&core, image->tokens, position));
        }
    }
    return result;
}
