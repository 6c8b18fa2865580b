/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/seed.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "manager/command.h"
#include "manager/vm.h"

enum { META_DATA, USER_DATA, NETWORK_CONFIG, FILES };

static const char *const names[FILES] = {"meta-data", "user-data", "network-config"};
static const char user_data_default[] = "#cloud-config\n{}\n";

static json_t *meta_data(const struct slice_node *node)
{
    return json_pack("{s:s, s:s}", "instance-id", node->name, "local-hostname", node->name);
}

static json_t *ethernet(const struct slice_interface *interface, const char *mac)
{
    json_t *addresses = json_array(), *ethernet;
    char lower[18]; /* cloud-init compares letters */
    unsigned i = 0;

    for (; mac[i] && i < sizeof lower - 1; i++)
        lower[i] = (char)tolower((unsigned char)mac[i]);
    lower[i] = '\0';
    for (i = 0; i < interface->n_addresses; i++)
        json_array_append_new(addresses, json_string(interface->addresses[i]));
    ethernet = json_pack("{s:{s:s}, s:s, s:b, s:b, s:o}", "match", "macaddress", lower, "set-name",
                         interface->name, "dhcp4", 0, "dhcp6", 0, "addresses", addresses);
    if (interface->mtu)
        json_object_set_new(ethernet, "mtu", json_integer(interface->mtu));
    return ethernet;
}

static json_t *network_config(const struct slice_node *node, const char macs[][18])
{
    json_t *ethernets = json_object();

    for (unsigned i = 0; i < node->n_interfaces; i++)
        json_object_set_new(ethernets, node->interfaces[i].name, ethernet(&node->interfaces[i], macs[i]));
    return json_pack("{s:i, s:o}", "version", 2, "ethernets", ethernets);
}

/* A document's text, to be freed; NULL: there is no memory. Takes 'json' over. */
static char *text_of(json_t *json)
{
    char *text = json ? json_dumps(json, JSON_INDENT(2) | JSON_ENSURE_ASCII) : NULL;

    json_decref(json);
    return text;
}

static int write_file(const char *path, const char *text, struct error *error)
{
    FILE *file = fopen(path, "we");
    bool good = file && fputs(text, file) >= 0;

    if (file && fclose(file))
        good = false;
    return good ? 0 : error_set(error, errno, "The file %.100s cannot be written: %s.", path, strerror(errno));
}

/* Writes the files into 'folder', and makes the image 'path' of them. */
static int make_image(const char *path, const char *folder, const char *const texts[FILES], struct error *error)
{
    char paths[FILES][PATH_MAX];
    const char *const words[] = {"genisoimage", "-quiet", "-volid", "cidata", "-joliet", "-rock",
                                 "-output",     path,     paths[0], paths[1], paths[2],  NULL};
    int code = 0;

    for (unsigned i = 0; i < FILES; i++)
        if (snprintf(paths[i], PATH_MAX, "%s/%s", folder, names[i]) >= PATH_MAX)
            return error_set(error, ENAMETOOLONG, "The seed's path %.100s... is too long.", folder);
    for (unsigned i = 0; i < FILES && !code; i++)
        code = write_file(paths[i], texts[i], error);
    if (!code)
        code = command_run(words, error);
    if (!code)
        code = vm_give_file(path, error);
    for (unsigned i = 0; i < FILES; i++)
        unlink(paths[i]);
    return code;
}

int seed_write(const char *path, const struct slice_node *node, const char macs[][18], struct error *error)
{
    char *meta = text_of(meta_data(node)), *network = text_of(network_config(node, macs));
    const char *texts[FILES] = {meta, node->user_data ? node->user_data : user_data_default, network};
    char folder[PATH_MAX], unfinished[PATH_MAX];
    int code = 0;

    if (!meta || !network)
        code = error_set(error, ENOMEM, "There is no memory for the seed of %s.", node->name);
    else if (snprintf(folder, sizeof folder, "%s.XXXXXX", path) >= (int)sizeof folder ||
             snprintf(unfinished, sizeof unfinished, "%s.new", path) >= (int)sizeof unfinished)
        code = error_set(error, ENAMETOOLONG, "The seed's path %.100s... is too long.", path);
    else if (!mkdtemp(folder))
        code = error_set(error, errno, "The folder %.100s cannot be made: %s.", folder, strerror(errno));
    if (!code) {
        code = make_image(unfinished, folder, texts, error);
        if (!code && rename(unfinished, path))
            code = error_set(error, errno, "The seed %.100s cannot be made: %s.", path, strerror(errno));
        if (code)
            unlink(unfinished);
        rmdir(folder);
    }
    free(meta);
    free(network);
    return code;
}
