/* SPDX-License-Identifier: Apache-2.0 */
/* Devices in a library that was built without the CUDA backend: there are none, and each function says so. */
#include "device.h"

static hunze_status none(void)
{
    return hunze_fail(HUNZE_ERR_DEVICE, "this library was built without CUDA and computes on the CPU");
}

hunze_status hunze_device_bundles(hunze_device device, uint32_t *bundles)
{
    (void)device;
    *bundles = 0;
    return none();
}

const char *hunze_device_text(hunze_device device, char text[HUNZE_DEVICE_TEXT])
{
    (void)device;
    text[0] = 0;
    return text;
}

bool hunze_device_compiles(hunze_device device)
{
    (void)device;
    return false;
}

hunze_status hunze_device_execute(const hunze_plan *plan, const hunze_request *request, const hunze_run *run)
{
    (void)plan, (void)request, (void)run;
    return none();
}

hunze_status hunze_device_prepare(const hunze_plan *plan)
{
    (void)plan;
    return none();
}

hunze_status hunze_device_copy(hunze_context *context, const hunze_tensor *from, const hunze_tensor *to,
                               hunze_device device, void *stream)
{
    (void)context, (void)from, (void)to, (void)device, (void)stream;
    return none();
}

hunze_status hunze_device_read(hunze_context *context, const hunze_tensor *from, void *stream, void *to, size_t bytes)
{
    (void)context, (void)from, (void)stream, (void)to, (void)bytes;
    return none();
}

hunze_status hunze_device_pack(const hunze_plan *plan, const hunze_device_weights *weights,
                               const hunze_packed_header *header, void *blob, const hunze_run *run)
{
    (void)plan, (void)weights, (void)header, (void)blob, (void)run;
    return none();
}

void hunze_device_settle(hunze_context *context) { (void)context; }

void hunze_device_release(hunze_context *context) { (void)context; }

void hunze_device_info(hunze_text *text)
{
    hunze_text_add(text, "\"cuda\": null, \"cuda_reason\": \"built without CUDA\"");
}

/* ------------------------------------------------------------------ exported */

hunze_status hunze_devices(hunze_context *context, char **out)
{
    if (!context || !out)
        return hunze_fail(HUNZE_ERR_NULL, "%s is NULL", context ? "text" : "context");
    hunze_text text;
    hunze_text_start(&text);
    hunze_text_add(&text, "{\"driver\": null, \"reason\": \"built without CUDA\", \"note\": null, \"devices\": []}");
    return hunze_text_finish(&text, out);
}

hunze_status hunze_memory_alloc(hunze_context *context, hunze_device device, size_t bytes, void *stream, void **pointer)
{
    (void)context, (void)device, (void)bytes, (void)stream;
    if (pointer)
        *pointer = NULL;
    return none();
}

hunze_status hunze_memory_free(hunze_context *context, hunze_device device, void *pointer, size_t bytes, void *stream)
{
    (void)context, (void)device, (void)pointer, (void)bytes, (void)stream;
    return none();
}

hunze_status hunze_pointer_device(hunze_context *context, const void *pointer, hunze_device *device)
{
    (void)context, (void)pointer, (void)device;
    return none();
}

hunze_status hunze_memory_trim(hunze_context *context)
{
    return context ? HUNZE_OK : hunze_fail(HUNZE_ERR_NULL, "context is NULL");
}

hunze_status hunze_stream_create(hunze_context *context, hunze_device device, void **stream)
{
    (void)context, (void)device;
    if (stream)
        *stream = NULL;
    return none();
}

hunze_status hunze_stream_destroy(hunze_context *context, hunze_device device, void *stream)
{
    (void)context, (void)device, (void)stream;
    return none();
}

hunze_status hunze_stream_synchronize(hunze_context *context, hunze_device device, void *stream)
{
    (void)context, (void)device, (void)stream;
    return none();
}

hunze_status hunze_stream_wait(hunze_context *context, hunze_device device, void *stream, void *before)
{
    (void)context, (void)device, (void)stream, (void)before;
    return none();
}

hunze_status hunze_event_record(hunze_context *context, hunze_device device, void *stream, void **event)
{
    (void)context, (void)device, (void)stream, (void)event;
    return none();
}

hunze_status hunze_event_query(hunze_context *context, hunze_device device, void *event, int32_t *over)
{
    (void)context, (void)device, (void)event, (void)over;
    return none();
}

hunze_status hunze_event_destroy(hunze_context *context, hunze_device device, void *event)
{
    (void)context, (void)device, (void)event;
    return none();
}
