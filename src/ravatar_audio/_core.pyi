# The cffi module that csrc/python/build_ffi.py makes from csrc/core/rva.h.
from typing import Any

ffi: Any
lib: Any
take: Any
processor: Any
encoder: Any
