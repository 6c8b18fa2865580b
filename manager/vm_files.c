/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files and folders of QEMU's user. Several threads start machines whose sockets are in the same folder: it is lent until the last of
 * them has taken it back.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "manager/command.h"
#include "manager/vm.h"

#define USER_SIZE 4096 /* of what the system's list of users has of one */

/* A folder that is lent, and to how many at the same time. */
struct lent {
    struct lent *next;
    unsigned n;
    char path[];
};

/* Of the list, of what is done to folders in it, and of copies. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct lent *all_lent;

/* Looks VM_USER up. ENOENT: there is no such user. */
static int find_user(uid_t *id, gid_t *group)
{
    struct passwd space, *user = NULL;
    char text[USER_SIZE];
    int code = getpwnam_r(VM_USER, &space, text, sizeof text, &user);

    if (user) {
        *id = user->pw_uid;
        *group = user->pw_gid;
    }
    return user ? 0 : code ? code : ENOENT;
}

int vm_give_file(const char *path, struct error *error)
{
    uid_t id = 0;
    gid_t group = 0;
    int fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    int code = fd < 0 ? errno : find_user(&id, &group);

    if (!code && (fchown(fd, id, group) || fchmod(fd, 0600)))
        code = errno;
    if (fd >= 0)
        close(fd);
    if (code)
        return error_set(error, code, "The file %s cannot be made for the user " VM_USER ": %s.", path,
                         strerror(code));
    return 0;
}

/* Gives a folder to a group, with this mode. */
static int set_folder(const char *path, gid_t group, mode_t mode)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), code = 0;

    if (fd < 0)
        return errno;
    if (fchown(fd, (uid_t)-1, group) || fchmod(fd, mode))
        code = errno;
    close(fd);
    return code;
}

/* Where the folder is in the list, or would be. */
static struct lent **find_lent(const char *path)
{
    struct lent **place = &all_lent;

    while (*place && strcmp((*place)->path, path) != 0)
        place = &(*place)->next;
    return place;
}

/* Lends one more time. */
static int lend(const char *path)
{
    struct lent **place = find_lent(path), *lent = *place;
    uid_t id;
    gid_t group;
    int code = find_user(&id, &group);

    if (!code && !lent) {
        lent = calloc(1, sizeof *lent + strlen(path) + 1);
        code = lent ? set_folder(path, group, 01771) : ENOMEM;
        if (code) {
            free(lent);
            return code;
        }
        strcpy(lent->path, path);
        *place = lent;
    }
    if (!code)
        lent->n++;
    return code;
}

int vm_lend_folder(const char *path, struct error *error)
{
    int code;

    pthread_mutex_lock(&lock);
    code = lend(path);
    pthread_mutex_unlock(&lock);
    if (code)
        return error_set(error, code, "The folder %s cannot be opened to the user " VM_USER ": %s.", path,
                         strerror(code));
    return 0;
}

void vm_take_back_folder(const char *path)
{
    struct lent **place, *lent;

    pthread_mutex_lock(&lock);
    place = find_lent(path);
    lent = *place;
    if (lent && !--lent->n) {
        set_folder(path, getegid(), 0755);
        *place = lent->next;
        free(lent);
    }
    pthread_mutex_unlock(&lock);
}

/* Only a copy that differs is made anew. Not by two at the same time: QEMU may be reading it already. */
static int make_copy(const char *path, const char *copy, struct error *error)
{
    int code;

    pthread_mutex_lock(&lock);
    code = command_run((const char *[]){"install", "-C", "-m", "644", path, copy, NULL}, error);
    pthread_mutex_unlock(&lock);
    return code;
}

int vm_make_readable(char path[SLICE_PATH_SIZE], const char *folder, struct error *error)
{
    const char *const test[] = {"test", "-r", path, NULL};
    const char *base = strrchr(path, '/');
    char copy[SLICE_PATH_SIZE];
    int code;

    if (access(path, R_OK) || !command_run_with(&(struct command){.words = test, .user = VM_USER}, NULL))
        return 0; /* what nobody can read, QEMU tells */
    if (snprintf(copy, sizeof copy, "%s/%s", folder, base ? base + 1 : path) >= (int)sizeof copy)
        return error_set(error, ENAMETOOLONG, "A copy of %.100s would have too long a name.", path);
    code = make_copy(path, copy, error);
    if (!code)
        strcpy(path, copy);
    return code;
}
