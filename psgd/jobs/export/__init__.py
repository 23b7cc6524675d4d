"""Writes a trained model for other programs: ONNX, numpy's npz, a scikit-learn pipeline."""
