/* SPDX-License-Identifier: Apache-2.0 */
/* Status names, versions, and the thread's last error message. */
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>

/* The one thing that changes outside a context: what the thread was last told. */
static _Thread_local char last_error[512];

hunze_status hunze_fail(hunze_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(last_error, sizeof last_error, format, arguments);
    va_end(arguments);
    return status;
}

const char *hunze_last_error(void) { return last_error; }

uint32_t hunze_abi_version(void) { return HUNZE_ABI_VERSION; }

const char *hunze_version(void) { return HUNZE_VERSION; }

const char *hunze_status_name(hunze_status status)
{
    switch (status) {
    case HUNZE_OK: return "HUNZE_OK";
    case HUNZE_ERR_NULL: return "HUNZE_ERR_NULL";
    case HUNZE_ERR_SHAPE: return "HUNZE_ERR_SHAPE";
    case HUNZE_ERR_DTYPE: return "HUNZE_ERR_DTYPE";
    case HUNZE_ERR_STRIDE: return "HUNZE_ERR_STRIDE";
    case HUNZE_ERR_ALIAS: return "HUNZE_ERR_ALIAS";
    case HUNZE_ERR_OPTION: return "HUNZE_ERR_OPTION";
    case HUNZE_ERR_UNSUPPORTED: return "HUNZE_ERR_UNSUPPORTED";
    case HUNZE_ERR_OVERFLOW: return "HUNZE_ERR_OVERFLOW";
    case HUNZE_ERR_NOMEM: return "HUNZE_ERR_NOMEM";
    case HUNZE_ERR_WORKSPACE: return "HUNZE_ERR_WORKSPACE";
    case HUNZE_ERR_PACKED: return "HUNZE_ERR_PACKED";
    case HUNZE_ERR_ALIGN: return "HUNZE_ERR_ALIGN";
    case HUNZE_ERR_DEVICE: return "HUNZE_ERR_DEVICE";
    case HUNZE_ERR_CANCELLED: return "HUNZE_ERR_CANCELLED";
    case HUNZE_ERR_SYSTEM: return "HUNZE_ERR_SYSTEM";
    case HUNZE_ERR_SLOW: return "HUNZE_ERR_SLOW";
    case HUNZE_ERR_DRIVER: return "HUNZE_ERR_DRIVER";
    case HUNZE_ERR_CAPTURE: return "HUNZE_ERR_CAPTURE";
    case HUNZE_ERR_FAULT: return "HUNZE_ERR_FAULT";
    }
    return "HUNZE_ERR_UNKNOWN";
}
