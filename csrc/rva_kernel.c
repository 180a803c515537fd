#include "rva_kernel.h"

#include <string.h>

/* Fastest first. */
static const rva_kernel *const kernels[] = {
    &rva_kernel_portable,
};

const rva_kernel *rva_kernel_find(const char *name) {
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
        if (name && *name && strcmp(name, kernels[i]->name) != 0) continue;
        if (kernels[i]->is_supported()) return kernels[i];
    }
    return NULL;
}
