/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target on the files of the directories given, once each, without libFuzzer: what
 * crashed a target before, and is kept in its corpus, must not do so again, in any build.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define SIZE_MAX_INPUT (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Returns whether there was such a file. The copy has the input's exact size, for the address sanitizer. */
static int run_file(const char *directory, const char *name)
{
    static uint8_t input[SIZE_MAX_INPUT];
    char path[4096];
    uint8_t *copy;
    size_t size;
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", directory, name);
    file = fopen(path, "rb");
    if (!file)
        return 0;
    size = fread(input, 1, sizeof input, file);
    fclose(file);
    copy = malloc(size ? size : 1);
    if (!copy)
        abort();
    for (size_t i = 0; i < size; i++)
        copy[i] = input[i];
    fprintf(stderr, "%s\n", path);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    return 1;
}

int main(int argc, char *argv[])
{
    int n = 0;

    for (int i = 1; i < argc; i++) {
        DIR *directory = opendir(argv[i]);
        struct dirent *entry;

        while (directory && (entry = readdir(directory)))
            n += entry->d_name[0] != '.' && run_file(argv[i], entry->d_name);
        if (directory)
            closedir(directory);
    }
    printf("%d inputs\n", n);
    return n ? EXIT_SUCCESS : EXIT_FAILURE;
}
