# The weights are the only output that Snakemake knows. The training state lies beside them,
# undeclared: declared files are deleted when a job dies, and then nothing could be resumed. A job
# that runs again continues from the state (`--retries`), so it needs no more time than before.
# The whole history stands in the state; Snakemake removes the log of an attempt that failed.
# Under Slurm the job stops itself, with exit code 75, before its time is up.
# Threads and memory of the settings are those of one process: a job of several asks for as many
# times that, Slurm's memory being that of a node.
processes, nodes = (
    getattr(settings.train.resources, k, 1) for k in ("shared_by", "nodes")
)


rule train:
    input:
        "<results>/data",
    output:
        guarded("<results>/model.safetensors"),
    log:
        "<logs>/train.log",
    benchmark:
        "<logs>/train.benchmark.tsv"
    threads: settings.train.resources.threads * processes
    resources:
        **launched(settings.train.resources),
        mem_mb=growing(settings.train.resources.mem_mb * processes // nodes),
        runtime=settings.train.resources.runtime_min,
        gpu=settings.train.resources.gpu,
        threads_each=lambda wildcards, threads: max(1, threads // processes),
    params:
        pipeline=pipeline.name,
        settings=settings_of("train"),
        versions=versions_of("train"),
    shell:
        "{resources.launcher} physml {params.pipeline} train --settings {params.settings:q}"
        " --threads {resources.threads_each}"
        " ${{SLURM_JOB_ID:+--time-limit {resources.runtime}}}"
        " --data {input:q} -o {output:q} 2> {log:q}"
