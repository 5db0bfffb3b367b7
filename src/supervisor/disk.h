/* Where a sandbox's writes lie and what bounds their bytes and files.
 *
 * A sandbox has data/upper and data/work of its overlay on a disk of one of these kinds, which is
 * chosen when it is created and stays:
 *   project  a folder of the state directory with an ext4 or XFS project quota; for state
 *            directories whose file system enforces such quotas
 *   btrfs    a subvolume with a qgroup limit, which bounds bytes, metadata included, but no inodes;
 *            for state directories on btrfs with quotas enabled
 *   image    a sparse ext4 image of its own, attached to a loop device and mounted while the
 * sandbox runs; for every other state directory plain    a folder, without a limit: where neither
 * works, and sandboxes of versions that knew no disks
 *
 * Bytes and inodes are counted as the file system counts them: folders, links, whiteouts and what
 * overlay copies up included. A limit below what is in use deletes nothing: the disk is full until
 * enough is deleted inside. */
#pragma once

#include "supervisor/worker.h"

#include "base/id.h"

struct sandbox;
struct limits;

/* Of one sandbox, as the kernel tells it; -1: not known. */
struct disk_usage {
    int64_t bytes, limit_bytes;
    int64_t inodes, inodes_limit;
};

/* Does not free the sandbox; closes sandbox->disk_fd where it is not wanted any more, since that
 * would keep the disk in use. */
typedef void (*disk_ready_fn)(struct sandbox *sandbox, const struct error *err);

/* One kind. What is NULL has nothing to do. Nothing here takes longer than a few system calls. */
struct disk_backend {
    const char *name;
    /* Whether new sandboxes of this state directory can have it; the reason in ret_text. */
    bool (*available)(int state_fd, char *ret_text, size_t size);
    /* Makes the folder data of a new sandbox in sandbox->dir_fd, empty, with its limits. */
    int (*create)(struct sandbox *sandbox, struct error *err);
    /* Begins what may take long before a start: 1: `ready` is called later; 0: there is nothing. */
    int (*prepare)(struct sandbox *sandbox, disk_ready_fn ready, struct error *err);
    /* A detached mount of the disk, its ids mapped by that user namespace. */
    int (*mount)(struct sandbox *sandbox, int userns_fd, struct error *err);
    /* Whether a sandbox can be changed like that at all. */
    int (*check)(const struct limits *from, const struct limits *to, struct error *err);
    /* Whether a change of a sandbox to `limits` needs `grow` first. */
    bool (*must_grow)(const struct sandbox *sandbox, const struct limits *limits);
    /* A worker's job: makes room for `limits`. */
    int (*grow)(struct supervisor *supervisor, const char *id, const struct limits *limits,
                struct error *err);
    /* Sets the limits of a sandbox, running or not. */
    int (*change)(const struct sandbox *sandbox, const struct limits *from, const struct limits *to,
                  struct error *err);
    /* Whether one that runs may write no more, whatever its limit, or again as it says. */
    int (*close)(const struct sandbox *sandbox, bool closed, struct error *err);
    void (*usage)(const struct sandbox *sandbox, struct disk_usage *ret_usage);
    /* A worker's job: a descriptor of the folder that holds upper/, of a sandbox at rest. */
    int (*open)(struct supervisor *supervisor, const char *id, struct error *err);
    /* A worker's job, before the folder `dir_fd` of a removed sandbox is deleted (finish false) and
     * after (true). Keeps in *state what it needs to know for the second. */
    int (*release)(int dir_fd, uint64_t *state, bool finish, struct error *err);
};

/* A worker's job: runs a tool of e2fsprogs in that folder; its exit status may be up to `most`. */
int disk_run_tool(int dir_fd, char *const *arguments, int most, struct error *err);

/* The `mount` and `open` of kinds whose data is a folder. */
int disk_mount_folder(struct sandbox *sandbox, int userns_fd, struct error *err);
int disk_open_folder(struct supervisor *supervisor, const char *id, struct error *err);

extern const struct disk_backend disk_plain, disk_project, disk_btrfs, disk_image;

/* Chooses the kind for new sandboxes by [sandbox] disk_backend; says in supervisor->disk_text what
 * it is and why. */
int disk_choose(struct supervisor *supervisor, struct error *err);

/* The same for --check: the kind's name. */
const struct disk_backend *disk_choose_for(const struct config *config, int state_fd,
                                           char *ret_text, size_t size, struct error *err);

/* By name, NULL: not known. A missing name is an old sandbox's: plain. */
const struct disk_backend *disk_by_name(const char *name);

/* -ENOSPC, code "host_disk_full", when the file system of the state directory has less left than
 * [sandbox] disk_reserve. */
int disk_check_host(const struct supervisor *supervisor, struct error *err);

/* Bytes that the host's file system of the state directory has left; -1: not known. */
int64_t disk_left(const struct supervisor *supervisor);

/* disk-guard.c: closes the disk images while the host has less left than that. */
int disk_guard_start(struct supervisor *supervisor, struct error *err);

/* Fills *ret_usage with -1 where the kernel does not tell. */
void disk_usage(const struct sandbox *sandbox, struct disk_usage *ret_usage);

/* Adds disk_bytes, disk_limit_bytes, inodes, inodes_limit. */
int disk_usage_add_to(const struct disk_usage *usage, json_t *object);

/* statfs(2) of the root of a running sandbox, which overlay answers by its upper file system. */
struct statfs;
int disk_statfs_root(const struct sandbox *sandbox, struct statfs *ret_status);
