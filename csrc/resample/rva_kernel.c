#include "resample/rva_kernel.h"

#include <string.h>

/* Fastest first. */
static const rva_kernel *const kernels[] = {
#if defined(__x86_64__) || defined(__i386__)
    &rva_kernel_avx512, &rva_kernel_avx2, &rva_kernel_sse2,
#elif defined(__aarch64__) || defined(__arm__)
    &rva_kernel_neon,
#endif
    &rva_kernel_portable,
};

const rva_kernel *rva_kernel_find(const char *name) {
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
        if (name && *name && strcmp(name, kernels[i]->name) != 0) continue;
        if (kernels[i]->is_supported()) return kernels[i];
    }
    return NULL;
}
