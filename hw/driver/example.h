/* An example of the driver's use: continues a prompt with the model of a memory image. */
#ifndef KVLOOM_EXAMPLE_H
#define KVLOOM_EXAMPLE_H

#include "kvloom_core.h"

/* image.bin and what image.json says of it, both from python -m golden.compile. */
struct kvloom_image {
    const uint8_t *bytes;
    size_t size;
    uint32_t ring, commands, completions, sequence, tokens, limit;
    uint64_t model; /* identity */
};

/* Hands each token to `found` as it comes, until there are `most` of them, the model ends the text, or there is
 * no more room. `context`: of the platform's macros. */
enum kvloom_result kvloom_continue(void *context, const struct kvloom_image *image, const uint32_t *prompt,
                                   uint32_t count, uint32_t most, void (*found)(uint32_t token));

#endif
