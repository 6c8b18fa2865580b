/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANAGER_MARKS_H
#define MANAGER_MARKS_H

/*
 * Small files in a slice's folder, NODE.KIND or NODE.INTERFACE.KIND, that say what is ours: written before a thing is
 * made, removed after the thing, so that it is found however its maker ended. A text in it says how the thing
 * is; a mark is empty while that is not certain.
 */

#include <stdbool.h>

#include "lib/error.h"

#define MARK_TEXT_SIZE 300
#define MARK_NAME_SIZE 80

/* Makes a folder and those above it. */
int marks_make_folder(const char *folder, struct error *error);

int mark_write(const char *folder, const char *name, const char *text, struct error *error);

/* Returns whether there is such a mark, and its text. */
bool mark_read(const char *folder, const char *name, char text[MARK_TEXT_SIZE]);

/* Whether there is such a mark with this very text. */
bool mark_says(const char *folder, const char *name, const char *text);

void mark_remove(const char *folder, const char *name);

/* Calls 'found' with the name of each file in a folder; those that it removes meanwhile do not matter. */
void marks_each(const char *folder, void (*found)(const char *name, void *argument), void *argument);

/* The part of 'name' in front of the ending ".KIND", in 'stem'; false: it has another ending. */
bool mark_stem(const char *name, const char *kind, char stem[MARK_NAME_SIZE]);

#endif
