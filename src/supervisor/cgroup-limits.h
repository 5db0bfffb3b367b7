/* The table of limits, open for tests. */
#pragma once

#include "supervisor/cgroup.h"

/* One limit as the file of either version wants it; a NULL name: that version has no such file. */
struct cgroup_setting {
    const char *field; /* for errors */
    enum controller_kind controller;
    const char *v1_file, *v2_file;
    void (*format)(const struct limits *limits, bool v2, const char *device, char *ret_text,
                   size_t size);
};

#define CGROUP_SETTINGS 9
extern const struct cgroup_setting cgroup_settings[CGROUP_SETTINGS];
