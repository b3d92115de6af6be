/* SPDX-License-Identifier: Apache-2.0 */
#include "gpu_image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static CUdevice device;

void gpu_need(CUresult result, const char *what)
{
    if (hunze_driver_check(result, "%s", what) != HUNZE_OK) {
        puts(hunze_last_error());
        exit(1);
    }
}

void gpu_open(void)
{
    CUcontext context;
    setvbuf(stdout, NULL, _IOLBF, 0); /* a program that is ended loses no line */
    if (hunze_driver_open() != HUNZE_OK) {
        puts(hunze_last_error());
        exit(1);
    }
    NEED(cuDeviceGet(&device, 0));
    NEED(cuDevicePrimaryCtxRetain(&context, device));
    NEED(cuCtxPushCurrent(context));
}

int gpu_attribute(CUdevice_attribute attribute)
{
    int value = 0;
    NEED(cuDeviceGetAttribute(&value, attribute, device));
    return value;
}

CUlibrary gpu_load(const char *folder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (strstr(name, "_sm90a") && gpu_attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) != 9)
        return NULL; /* some drivers would say so at the first launch only */
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    fseek(file, 0, SEEK_END);
    const size_t bytes = (size_t)ftell(file);
    rewind(file);
    char *image = malloc(bytes);
    const bool whole = fread(image, 1, bytes, file) == bytes;
    fclose(file);
    CUlibrary library = NULL;
    const CUresult result =
        whole ? hunze_cu->cuLibraryLoadData(&library, image, NULL, NULL, 0, NULL, NULL, 0) : CUDA_ERROR_FILE_NOT_FOUND;
    if (result != CUDA_ERROR_NO_BINARY_FOR_GPU)
        gpu_need(result, path);
    free(image);
    return library;
}

CUkernel gpu_kernel(CUlibrary library, const char *name)
{
    CUkernel kernel = NULL;
    return library && hunze_cu->cuLibraryGetKernel(&kernel, library, name) == CUDA_SUCCESS ? kernel : NULL;
}

void gpu_launch(CUkernel kernel, const unsigned grid[3], unsigned threads, unsigned shared_bytes, void *argument,
                void *stream)
{
    void *arguments[] = {argument};
    const CUlaunchConfig config = {.gridDimX = grid[0],
                                   .gridDimY = grid[1],
                                   .gridDimZ = grid[2],
                                   .blockDimX = threads,
                                   .blockDimY = 1,
                                   .blockDimZ = 1,
                                   .sharedMemBytes = shared_bytes,
                                   .hStream = stream};
    if (shared_bytes > 48 << 10)
        NEED(cuKernelSetAttribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, (int)shared_bytes, kernel, device));
    NEED(cuLaunchKernelEx(&config, (CUfunction)kernel, arguments, NULL));
}
