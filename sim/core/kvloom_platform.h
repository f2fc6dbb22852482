/* What the driver needs of its platform: here, the simulated core. `context` is a struct simulation. */
#ifndef KVLOOM_PLATFORM_H
#define KVLOOM_PLATFORM_H

#include "simulation.h"

#define KVLOOM_PATIENCE 1000000000 /* cycles */

static inline uint32_t kvloom_platform_read(void *context, uint32_t offset)
{
    uint32_t value = 0;
    simulation_read(context, offset, &value);
    return value;
}

#define KVLOOM_READ(context, offset) kvloom_platform_read(context, offset)
#define KVLOOM_WRITE(context, offset, value) ((void)simulation_write(context, offset, value))
#define KVLOOM_ALLOCATE(context, bytes, address) simulation_allocate(context, bytes, address)
#define KVLOOM_WAIT(context) (simulation_run(context, KVLOOM_PATIENCE) == SIMULATION_INTERRUPT)

#endif
