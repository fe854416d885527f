"""An optimizer of your own: called as optimizer(parameters, lr=…), so that a class of torch.optim will do.

The schedule of the settings still sets the learning rate of each step.
"""

from functools import partial

import torch
from tickets import LABELS, MODEL, TEXTS

from classtune import TextClassifier

optimizer = partial(torch.optim.SGD, momentum=0.9, nesterov=True)
classifier = TextClassifier(MODEL, optimizer=optimizer, learning_rate=0.01, epochs=2).fit(TEXTS, LABELS)
print(classifier.score(TEXTS, LABELS))
