# The cffi module that csrc/build_ffi.py makes from csrc/rva.h.
from typing import Any

ffi: Any
lib: Any
take: Any
processor: Any
encoder: Any
