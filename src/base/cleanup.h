/* Scope-bound cleanup, written as plain words before a declaration:
 *
 *     cleanup_close int fd = -1;
 *     cleanup_free char *text = NULL;
 *     cleanup_json json_t *body = NULL;
 *
 * Ownership leaves a scope only through TAKE_FD/TAKE_PTR, so a return in the middle can never leak
 * or free twice. */
#pragma once

#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_close_fn(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline void cleanup_free_fn(void *pointer)
{
    free(*(void **)pointer);
}

static inline void cleanup_file_fn(FILE **file)
{
    if (*file)
        fclose(*file);
}

static inline void cleanup_dir_fn(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

static inline void cleanup_json_fn(json_t **value)
{
    json_decref(*value);
}

#define cleanup_close __attribute__((cleanup(cleanup_close_fn)))
#define cleanup_free  __attribute__((cleanup(cleanup_free_fn)))
#define cleanup_file  __attribute__((cleanup(cleanup_file_fn)))
#define cleanup_dir   __attribute__((cleanup(cleanup_dir_fn)))
#define cleanup_json  __attribute__((cleanup(cleanup_json_fn)))

#define TAKE_FD(fd)                                                                                \
    ({                                                                                             \
        int *take_fd_ = &(fd);                                                                     \
        int take_value_ = *take_fd_;                                                               \
        *take_fd_ = -1;                                                                            \
        take_value_;                                                                               \
    })

#define TAKE_PTR(pointer)                                                                          \
    ({                                                                                             \
        __typeof__(pointer) *take_pointer_ = &(pointer);                                           \
        __typeof__(pointer) take_result_ = *take_pointer_;                                         \
        *take_pointer_ = NULL;                                                                     \
        take_result_;                                                                              \
    })

#define ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))

/* Closes *fd if it is open and marks it closed. */
static inline void close_and_forget(int *fd)
{
    cleanup_close_fn(fd);
    *fd = -1;
}
