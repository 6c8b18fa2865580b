/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/marks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_SIZE 512

static void spell(char path[PATH_SIZE], const char *folder, const char *name)
{
    snprintf(path, PATH_SIZE, "%s/%s", folder, name);
}

int marks_make_folder(const char *folder, struct error *error)
{
    char path[PATH_SIZE];

    snprintf(path, sizeof path, "%s", folder);
    for (char *c = path + 1; (c = strchr(c, '/')); *c++ = '/') {
        *c = '\0';
        if (mkdir(path, 0755) && errno != EEXIST)
            return error_set(error, errno, "The folder %s cannot be made: %s.", path, strerror(errno));
    }
    if (mkdir(path, 0755) && errno != EEXIST)
        return error_set(error, errno, "The folder %s cannot be made: %s.", path, strerror(errno));
    return 0;
}

int mark_write(const char *folder, const char *name, const char *text, struct error *error)
{
    char path[PATH_SIZE];
    FILE *file;
    bool failed;
    int fd;

    /* Whatever is there, it is not followed. */
    spell(path, folder, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644);
    file = fd >= 0 ? fdopen(fd, "w") : NULL;
    failed = !file || fputs(text, file) < 0;
    failed |= file && fclose(file);
    return failed ? error_set(error, errno, "The file %.180s cannot be written: %s.", path, strerror(errno))
                  : 0;
}

bool mark_read(const char *folder, const char *name, char text[MARK_TEXT_SIZE])
{
    char path[PATH_SIZE];
    FILE *file;
    size_t size;

    spell(path, folder, name);
    file = fopen(path, "re");
    if (!file)
        return false;
    size = fread(text, 1, MARK_TEXT_SIZE - 1, file);
    text[size] = '\0';
    fclose(file);
    return true;
}

bool mark_says(const char *folder, const char *name, const char *text)
{
    char found[MARK_TEXT_SIZE];

    return mark_read(folder, name, found) && !strcmp(found, text);
}

void mark_remove(const char *folder, const char *name)
{
    char path[PATH_SIZE];

    spell(path, folder, name);
    unlink(path);
}

static int is_name(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

void marks_each(const char *folder, void (*found)(const char *name, void *argument), void *argument)
{
    struct dirent **entries;
    int n = scandir(folder, &entries, is_name, alphasort);

    for (int i = 0; i < n; i++) {
        found(entries[i]->d_name, argument);
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
}

bool mark_stem(const char *name, const char *kind, char stem[MARK_NAME_SIZE])
{
    const char *dot = strrchr(name, '.');

    if (!dot || strcmp(dot + 1, kind) != 0 || dot - name >= MARK_NAME_SIZE)
        return false;
    snprintf(stem, MARK_NAME_SIZE, "%.*s", (int)(dot - name), name);
    return true;
}
