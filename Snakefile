# Every folder of pipelines/ that holds a Snakefile becomes a module with its own
# results/<name>. Adding one needs no edit here.
#
#   snakemake -c2 --config preset=smoke            all of them, small
#   snakemake -c2 cavities                         one of them
#   snakemake -c2 --config cavities='{train: {epochs: 3}}'
#   snakemake -c2 --config pipeline_dirs=/elsewhere/pipelines
from pathlib import Path

# Whoever imports this file may have a target already: then it stays the default one.
no_target_yet = workflow.default_target is None


include: "workflows/discover.smk"
include: "workflows/one_run.smk"


pipelines = chosen(
    discover(
        [
            Path(workflow.snakefile).parent / "pipelines",
            *listed(config.get("pipeline_dirs", [])),
        ]
    ),
    config,
)

for name, folder in pipelines.items():
    prefix = f"{name}_"  # rules of two pipelines must not meet under one name

    module:
        name: name
        pathvars:
            results=f"{workflow.pathvars.get('results')}/{name}",
            logs=f"{workflow.pathvars.get('logs')}/{name}",
        snakefile:
            f"{folder}/Snakefile"
        config:
            settings_of_pipeline(folder, config)

    use rule * from name as prefix*

    rule:
        name:
            name
        input:
            f"<results>/{name}/report",
        localrule: True


report: "workflows/report/workflow.rst"


rule all:
    default_target: no_target_yet
    input:
        expand("<results>/{name}/report", name=pipelines),
    localrule: True
