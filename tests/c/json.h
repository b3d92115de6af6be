/* SPDX-License-Identifier: Apache-2.0 */
/* As much of JSON as the tests read: whether a text is one value, and the members of its outermost object. */
#ifndef HUNZE_TESTS_JSON_H
#define HUNZE_TESTS_JSON_H

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const char *json_value(const char *at); /* behind the value at `at`; NULL: there is none */

static inline const char *json_space(const char *at)
{
    while (at && *at && strchr(" \t\r\n", *at))
        at++;
    return at;
}

static inline const char *json_string(const char *at)
{
    if (!at || *at++ != '"')
        return NULL;
    for (; *at != '"'; at++) {
        if ((unsigned char)*at < 0x20)
            return NULL;
        if (*at != '\\')
            continue;
        at++;
        if (*at == 'u') {
            for (int i = 0; i < 4; i++)
                if (!isxdigit((unsigned char)*++at))
                    return NULL;
        } else if (!*at || !strchr("\"\\/bfnrt", *at)) {
            return NULL;
        }
    }
    return at + 1;
}

static inline const char *json_number(const char *at)
{
    at += *at == '-';
    if (!isdigit((unsigned char)*at) || (*at == '0' && isdigit((unsigned char)at[1])))
        return NULL;
    while (isdigit((unsigned char)*at))
        at++;
    if (*at == '.') {
        if (!isdigit((unsigned char)*++at))
            return NULL;
        while (isdigit((unsigned char)*at))
            at++;
    }
    return at;
}

/* An array or an object, after its first bracket. */
static inline const char *json_items(const char *at, bool object)
{
    const char end = object ? '}' : ']';
    at = json_space(at);
    if (*at == end)
        return at + 1;
    for (;;) {
        if (object) {
            at = json_space(json_string(json_space(at)));
            if (!at || *at++ != ':')
                return NULL;
        }
        at = json_space(json_value(json_space(at)));
        if (!at)
            return NULL;
        if (*at == end)
            return at + 1;
        if (*at++ != ',')
            return NULL;
    }
}

static inline const char *json_value(const char *at)
{
    static const char *const words[] = {"null", "true", "false"};
    for (int i = 0; i < 3; i++)
        if (strncmp(at, words[i], strlen(words[i])) == 0)
            return at + strlen(words[i]);
    return *at == '{'   ? json_items(at + 1, true)
           : *at == '[' ? json_items(at + 1, false)
           : *at == '"' ? json_string(at)
                        : json_number(at);
}

static inline bool json_is_valid(const char *text)
{
    const char *end = json_space(json_value(json_space(text)));
    return end && *end == 0;
}

/* The value of a member of a valid object, NULL if it has none of this name. */
static inline const char *json_member(const char *text, const char *name)
{
    const char *at = json_space(text);
    const size_t length = strlen(name);
    if (*at++ != '{')
        return NULL;
    while (*(at = json_space(at)) == '"') {
        const char *key = at + 1;
        at = json_space(json_string(at)) + 1;
        at = json_space(at);
        if (strncmp(key, name, length) == 0 && key[length] == '"')
            return at;
        at = json_space(json_value(at));
        at += *at == ',';
    }
    return NULL;
}

/* Whether the member is the string. */
static inline bool json_says(const char *text, const char *name, const char *string)
{
    const char *at = json_member(text, name);
    const size_t length = strlen(string);
    return at && *at == '"' && strncmp(at + 1, string, length) == 0 && at[1 + length] == '"';
}

#endif
