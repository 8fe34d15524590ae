# The chain, written once for all pipelines:  simulate > preprocess > train > evaluate > report
#
# A pipeline's Snakefile takes it in as a module (an `include` would lose the default target) and
# gives it, as `config`:
#   pipeline   name under which the pipeline is registered
#   settings   what differs from the defaults of its settings model
#   captions   rst files for the figures of the stages `evaluation` and `report`
# Where things go is said by the path variables <results> and <logs>.


# Whoever imports a pipeline may have a target already: then it stays the default one.
no_target_yet = workflow.default_target is None


include: "rules/common.smk"


captions = config["captions"]


# One image for all rules, built from container.def; used only with `--sdm apptainer`.
container: "physml.sif"


include: "rules/simulate.smk"
include: "rules/preprocess.smk"
include: "rules/train.smk"
include: "rules/evaluate.smk"
include: "rules/report.smk"


rule all:
    default_target: no_target_yet
    input:
        "<results>/report",
    localrule: True
