/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/disk.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "manager/command.h"
#include "manager/vm.h"

#define SECTOR_SIZE 512
#define INFO_SIZE 65536 /* bytes of what qemu-img tells of an image; snapshots make it long */

struct image {
    char format[8];
    uint64_t size;
};

static int refuse(const char *path, const char *why, struct error *error)
{
    return error_set(error, EINVAL, "The image %.100s %s.", path, why);
}

/* Takes what qemu-img tells, for which everything that it does not know is raw; 'size' is that of the file. */
static int take_info(const char *path, const json_t *info, off_t file_size, struct image *image,
                     struct error *error)
{
    const json_t *specific = json_object_get(json_object_get(info, "format-specific"), "data");
    const char *format = json_string_value(json_object_get(info, "format"));
    json_int_t size = json_integer_value(json_object_get(info, "virtual-size"));

    if (!format || size <= 0)
        return refuse(path, "is empty, or no image", error);
    if (strcmp(format, "qcow2") != 0 && strcmp(format, "raw") != 0)
        return refuse(path, "is neither qcow2 nor raw; convert it by 'qemu-img convert -O qcow2'", error);
    if (!strcmp(format, "raw") && file_size % SECTOR_SIZE)
        return refuse(path, "is no image: it is no qcow2 file, nor are there whole sectors in it", error);
    if (json_object_get(info, "backing-filename") || json_object_get(info, "full-backing-filename"))
        return refuse(path, "leans on a backing file; make it whole by 'qemu-img convert -O qcow2'", error);
    if (json_object_get(specific, "data-file"))
        return refuse(path, "keeps its data in another file; make it whole by 'qemu-img convert -O qcow2'",
                      error);
    if (json_object_get(info, "encrypted"))
        return refuse(path, "is encrypted, and there is nobody to ask for the key", error);
    strcpy(image->format, format);
    image->size = (uint64_t)size;
    return 0;
}

static int look_at(const char *path, struct image *image, struct error *error)
{
    char output[INFO_SIZE];
    const char *const words[] = {"qemu-img", "info", "--output=json", path, NULL};
    const char *const readable[] = {"test", "-r", path, NULL};
    struct stat status;
    json_t *info;
    int code;

    if (stat(path, &status))
        return error_set(error, errno, "The image %.100s cannot be opened: %s.", path, strerror(errno));
    code = command_run_with(&(struct command){.words = readable, .user = VM_USER}, error);
    if (code == EIO)
        return error_set(
            error, EACCES,
            "The image %.100s cannot be read by the user " VM_USER
            ", as whom machines run: it, or a folder above it, is closed. Copy it to, say, /var/lib/vnode/images.",
            path);
    if (!code)
        code = command_run_with(
            &(struct command){.words = words, .user = VM_USER, .output = output, .output_size = sizeof output},
            error);
    if (code)
        return code;
    info = json_loads(output, 0, NULL);
    code = take_info(path, info, status.st_size, image, error);
    json_decref(info);
    return code;
}

int disk_create_overlay(const char *path, const char *image_path, uint64_t size, struct error *error)
{
    char unfinished[PATH_MAX], size_text[24];
    const char *words[] = {"qemu-img", "create", "-q", "-f",       "qcow2",   "-b",
                           image_path, "-F",     NULL, unfinished, size_text, NULL};
    struct image image;
    int code;

    /* qemu-img would take "nbd:..." and the like for something else than files. */
    if (path[0] != '/' || image_path[0] != '/')
        return error_set(error, EINVAL, "'%.100s' is no absolute path.", path[0] != '/' ? path : image_path);
    if (snprintf(unfinished, sizeof unfinished, "%s.new", path) >= (int)sizeof unfinished)
        return error_set(error, ENAMETOOLONG, "The disk's path %.100s... is too long.", path);
    code = look_at(image_path, &image, error);
    if (code)
        return code;
    if (size && size < image.size)
        return error_set(error, EINVAL,
                         "A disk of %llu MiB has no room for the image %.100s, which has %llu MiB.",
                         (unsigned long long)size >> 20, image_path, (unsigned long long)image.size >> 20);
    words[8] = image.format;
    snprintf(size_text, sizeof size_text, "%llu", (unsigned long long)(size ? size : image.size));
    unlink(unfinished); /* of one who was interrupted */
    code = vm_give_file(unfinished, error);
    if (!code)
        code = command_run_with(&(struct command){.words = words, .user = VM_USER}, error);
    if (!code && rename(unfinished, path))
        code = error_set(error, errno, "The disk %.100s cannot be made: %s.", path, strerror(errno));
    if (code)
        unlink(unfinished);
    return code;
}
