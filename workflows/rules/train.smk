# The weights are the only output that Snakemake knows. The training state lies beside them,
# undeclared: declared files are deleted when a job dies, and then nothing could be resumed. A job
# that runs again continues from the state (`--retries`), so it needs no more time than before.
# The whole history stands in the state; Snakemake removes the log of an attempt that failed.
# Under Slurm the job stops itself, with exit code 75, before its time is up.
rule train:
    input:
        "<results>/data",
    output:
        guarded("<results>/model.safetensors"),
    log:
        "<logs>/train.log",
    benchmark:
        "<logs>/train.benchmark.tsv"
    threads: settings.train.resources.threads
    resources:
        mem_mb=growing(settings.train.resources.mem_mb),
        runtime=settings.train.resources.runtime_min,
        gpu=settings.train.resources.gpu,
    params:
        pipeline=pipeline.name,
        settings=settings_of("train"),
        versions=versions_of("train"),
    shell:
        "physml {params.pipeline} train --settings {params.settings:q} --threads {threads}"
        " ${{SLURM_JOB_ID:+--time-limit {resources.runtime}}}"
        " --data {input:q} -o {output:q} 2> {log:q}"
