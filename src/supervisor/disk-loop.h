/* Loop devices, by the file that they show: nothing is kept of which device is whose, so nothing is
 * lost with the supervisor. A device detaches itself when its last mount and descriptor go. */
#pragma once

#include "base/error.h"

/* A device that shows the file `fd`, made if none does; a device that is just going away is waited
 * for (a worker's job). Returns its descriptor, open for reading and writing, and its number.
 * `name` is what losetup shows. */
int loop_attach(int fd, const char *name, unsigned int *ret_number, struct error *err);

/* The device that shows the file `fd`: -ENOENT when there is none. `hint` is a part of its path. */
int loop_find(int fd, const char *hint, unsigned int *ret_number);

/* Has the device take over the file's new size. */
int loop_resize(int loop_fd, struct error *err);
