"""Marks of tests that need a compiler."""

import pytest

from . import emulate, nvrtc

needs_compiler = pytest.mark.skipif(emulate.COMPILER is None, reason="no g++ here, which runs kernels on the CPU")
needs_nvrtc = pytest.mark.skipif(nvrtc.find() is None, reason="no NVRTC here: pip install nvidia-cuda-nvrtc")
