"""The estimators of `psgd.sklearn`: psgd's engine behind the interface of scikit-learn."""
