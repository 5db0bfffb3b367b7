/* Theory of operation: see figures.h. Slots are taken with one compare-and-swap and searched from
 * the first on, which happens once for each sandbox and process. The space is allocated, since a
 * page that cannot be had when it is first written would kill the writer. */
#include "base/figures.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME "figures"

enum { SLOT_FREE, SLOT_BUSY, SLOT_USED };

const uint32_t figures_bounds[FIGURES_BUCKETS - 1] = {
    500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 500000, 2500000, 10000000};

int figures_create(int run_fd, struct error *err)
{
    cleanup_close int fd = openat(run_fd, NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return error_sys(err, errno, "open `" NAME "` in the run directory");
    int r = posix_fallocate(fd, 0, sizeof(struct figures));
    if (r != 0)
        return error_sys(err, r, "allocating `" NAME "` in the run directory");
    return TAKE_FD(fd);
}

int figures_read_only(int run_fd, struct error *err)
{
    int fd = openat(run_fd, NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    return fd < 0 ? error_sys(err, errno, "open `" NAME "` in the run directory") : fd;
}

int figures_map(int fd, bool writable, struct figures **ret_figures, struct error *err)
{
    struct stat status;

    if (fstat(fd, &status) < 0 || status.st_size < (off_t)sizeof(struct figures))
        return error_set(err, EPROTO, "the descriptor `figures` has not its size");
    void *memory = mmap(NULL, sizeof(struct figures), PROT_READ | (writable ? PROT_WRITE : 0),
                        MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        return error_sys(err, errno, "mapping the figures");
    *ret_figures = memory;
    return 0;
}

uint32_t figures_begin(struct figures *figures)
{
    uint32_t era = atomic_fetch_add(&figures->era, 1) + 1;

    for (size_t i = 0; i < FIGURES_SLOTS; i++)
        atomic_store(&figures->slots[i].open[era & 1], 0);
    return era;
}

static bool is_of(const struct figures_slot *slot, const char *id)
{
    return atomic_load_explicit(&slot->used, memory_order_acquire) == SLOT_USED &&
           memcmp(slot->id, id, SANDBOX_ID_LENGTH) == 0;
}

struct figures_slot *figures_find(struct figures *figures, const char *id)
{
    for (size_t i = 1; i < FIGURES_SLOTS; i++)
        if (is_of(&figures->slots[i], id))
            return &figures->slots[i];
    return NULL;
}

static void clear(struct figures_slot *slot)
{
    memset((char *)slot + offsetof(struct figures_slot, requests), 0,
           sizeof(*slot) - offsetof(struct figures_slot, requests));
}

struct figures_slot *figures_slot(struct figures *figures, const char *id)
{
    struct figures_slot *slot = figures_find(figures, id);

    for (size_t i = 1; !slot && i < FIGURES_SLOTS; i++) {
        uint32_t expected = SLOT_FREE;
        struct figures_slot *candidate = &figures->slots[i];
        if (!atomic_compare_exchange_strong(&candidate->used, &expected, SLOT_BUSY))
            continue;
        slot = candidate;
        clear(slot);
        memcpy(slot->id, id, SANDBOX_ID_LENGTH);
        atomic_store_explicit(&slot->used, SLOT_USED, memory_order_release);
    }
    return slot ? slot : &figures->slots[0];
}

void figures_release(struct figures_slot *slot)
{
    if (slot && slot->id[0])
        atomic_store(&slot->used, SLOT_FREE);
}

uint64_t figures_open(const struct figures *figures, const struct figures_slot *slot)
{
    uint32_t era = atomic_load(&figures->era), leaving = atomic_load(&figures->leaving);
    int64_t open = atomic_load(&slot->open[era & 1]);

    if (leaving != 0 && leaving + 1 == era)
        open += atomic_load(&slot->open[leaving & 1]);
    return open > 0 ? (uint64_t)open : 0;
}

void figures_latency(struct figures_slot *slot, uint64_t us)
{
    size_t i = 0;

    while (i < FIGURES_BUCKETS - 1 && us > figures_bounds[i])
        i++;
    figures_add(&slot->latency[i], 1);
    figures_add(&slot->latency_us, us);
}
