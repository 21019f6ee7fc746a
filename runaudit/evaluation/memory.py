"""Telling an error that means that memory ran out from all others. Loads none of the libraries that raise them."""

from __future__ import annotations

import errno
import re
from typing import Final

_WORDS: Final = re.compile(r"can't allocate memory|CUDA error: out of memory|(CUBLAS|CUDNN)_STATUS_ALLOC_FAILED")
"""of RuntimeErrors of torch: its allocator for the CPU (c10/core/impl/alloc_cpu.cpp), and libraries of CUDA below it"""
_OPENCV_NO_MEMORY: Final = -4
"""cv::Error::StsNoMem"""
_SAID: Final = re.compile(rb"Insufficient memory|Failed to allocate|std::bad_alloc")
"""what OpenCV prints where it catches such an error itself and gives no picture (modules/imgcodecs/src/loadsave.cpp)"""


def said_so(complaints: bytes) -> bool:
    """Whether what OpenCV printed on standard error says that memory ran out."""
    return _SAID.search(complaints) is not None


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether this, or an error that it was raised from, is how Python, numpy, OpenCV or torch say so."""
    if error.__cause__ is not None and ran_out_of_memory(error.__cause__):
        return True
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, RuntimeError):
        return _WORDS.search(str(error)) is not None
    return type(error).__module__.startswith("cv2") and getattr(error, "code", None) == _OPENCV_NO_MEMORY
