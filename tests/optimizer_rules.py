"""The rules by which optimizers take their steps."""

from psgd.optimizers.rules import SGD, Adam

RULES = [SGD(), SGD(0.9), SGD(0.9, nesterov=True), Adam(), Adam(amsgrad=True)]
