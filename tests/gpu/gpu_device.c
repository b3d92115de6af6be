/* SPDX-License-Identifier: Apache-2.0 */
/* Which devices Hunze finds, as a RESULT line; fails if it can use none. */
#include <hunze.h>

#include <stdio.h>
#include <string.h>

int main(void)
{
    hunze_context *context;
    char *text;
    if (hunze_context_create(NULL, &context) != HUNZE_OK || hunze_devices(context, &text) != HUNZE_OK) {
        puts(hunze_last_error());
        return 1;
    }
    printf("RESULT %s\n", text);
    /* A block of memory is the shortest proof that the first device gives more than its name. */
    void *pointer;
    const hunze_device device = {HUNZE_DEVICE_CUDA, 0};
    const hunze_status status = hunze_memory_alloc(context, device, 1024, NULL, &pointer);
    if (status == HUNZE_OK && hunze_memory_free(context, device, pointer, 1024, NULL) == HUNZE_OK &&
        hunze_stream_synchronize(context, device, NULL) == HUNZE_OK) {
        puts("usable");
        return 0;
    }
    puts(hunze_last_error());
    return 1;
}
