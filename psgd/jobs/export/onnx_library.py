"""The only importer of onnx."""

from typing import Any

from psgd.core.errors import UsageError


def import_onnx() -> Any:
    """Import onnx. UsageError if it is missing."""
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except ImportError:
        raise UsageError("--to onnx needs the package onnx: pip install 'psgd[export]'") from None
    return onnx
