/* SPDX-License-Identifier: Apache-2.0 */
/* The first device, asked through the driver itself: images from files, launches, and an end with a sentence where something is refused. */
#ifndef HUNZE_TESTS_GPU_IMAGE_H
#define HUNZE_TESTS_GPU_IMAGE_H

#include "../../cuda/driver.h"

/* Ends the program with what the driver said. */
void gpu_need(CUresult result, const char *what);
#define NEED(call) gpu_need(hunze_cu->call, #call)

/* Opens the driver and makes the first device's primary context current. */
void gpu_open(void);
int gpu_attribute(CUdevice_attribute attribute);

/* An image from FOLDER/NAME; NULL if it is not there, or for other devices. */
CUlibrary gpu_load(const char *folder, const char *name);
/* NULL where there is no such kernel. */
CUkernel gpu_kernel(CUlibrary library, const char *name);
/* The argument is one struct. */
void gpu_launch(CUkernel kernel, const unsigned grid[3], unsigned threads, unsigned shared_bytes, void *argument,
                void *stream);

#endif
