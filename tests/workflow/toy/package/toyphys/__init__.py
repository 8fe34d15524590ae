"""A fourth pipeline, from outside: the decay rate of a counter, learnt in milliseconds.

The smallest thing that keeps the contract of `physml.pipeline`. The chain's tests run on it.
"""

import os
from dataclasses import replace

from physml.pipeline import Pipeline

pipeline = Pipeline(
    name="toy",
    title="Toy: radioactive decay",
    settings="toyphys.settings:ToySettings",
    simulate="toyphys.stages:simulate",
    preprocess="toyphys.stages:preprocess",
    train="toyphys.stages:train",
    evaluate="toyphys.stages:evaluate",
    report="toyphys.stages:report",
    # From the environment so that a test can raise it without editing this file.
    versions={"train": int(os.environ.get("TOY_TRAIN_VERSION", "1"))},
)

#: The same science under another name: two pipelines in one workflow must not mix.
twin = replace(pipeline, name="twin")
