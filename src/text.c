/* SPDX-License-Identifier: Apache-2.0 */
/* Strings that are handed to the caller: JSON, built piece by piece.  They come from malloc and go by hunze_string_free. */
#include "context.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void hunze_text_start(hunze_text *text)
{
    text->length = 0;
    text->capacity = 1024;
    text->bytes = malloc(text->capacity);
}

static bool reserve(hunze_text *text, size_t more)
{
    if (!text->bytes)
        return false;
    if (text->capacity - text->length > more)
        return true;
    text->capacity = 2 * text->capacity + more;
    char *bytes = realloc(text->bytes, text->capacity);
    if (!bytes)
        free(text->bytes);
    text->bytes = bytes;
    return bytes != NULL;
}

void hunze_text_add(hunze_text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0 || !reserve(text, (size_t)length))
        return;
    va_start(arguments, format);
    vsnprintf(text->bytes + text->length, (size_t)length + 1, format, arguments);
    va_end(arguments);
    text->length += (size_t)length;
}

void hunze_text_add_quoted(hunze_text *text, const char *string)
{
    if (!string) {
        hunze_text_add(text, "null");
        return;
    }
    hunze_text_add(text, "\"");
    for (; *string; string++) {
        const unsigned char byte = (unsigned char)*string;
        if (byte == '"' || byte == '\\')
            hunze_text_add(text, "\\%c", byte);
        else if (byte < 0x20 || byte >= 0x7f)
            hunze_text_add(text, "\\u%04x", byte);
        else
            hunze_text_add(text, "%c", byte);
    }
    hunze_text_add(text, "\"");
}

hunze_status hunze_text_finish(hunze_text *text, char **out)
{
    *out = text->bytes;
    if (!text->bytes)
        return hunze_fail(HUNZE_ERR_NOMEM, "no memory for %zu bytes of text", text->capacity);
    text->bytes[text->length] = 0;
    return HUNZE_OK;
}

void hunze_string_free(char *text) { free(text); }
