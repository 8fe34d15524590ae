# All shards in, training, validation and test sets out. Dask works inside the job, sized from its
# threads and memory, or in worker jobs of its own (`preprocess.dask: slurm`). The choice changes no
# result: it is a resource, which runs nothing again.
placed = getattr(settings.preprocess, "dask", None)


rule preprocess:
    input:
        expand("<results>/raw/{shard}.h5", shard=range(settings.simulate.n_shards)),
    output:
        directory("<results>/data"),
    log:
        "<logs>/preprocess.log",
    benchmark:
        "<logs>/preprocess.benchmark.tsv"
    # With worker jobs, this one gives out tasks and writes what comes back.
    threads: 1 if placed and placed.cluster == "slurm" else settings.preprocess.resources.threads
    resources:
        **({"dask": workers_of(placed)} if placed else {}),
        mem_mb=growing(settings.preprocess.resources.mem_mb),
        runtime=growing(settings.preprocess.resources.runtime_min),
        gpu=settings.preprocess.resources.gpu,
    params:
        pipeline=pipeline.name,
        settings=settings_of("preprocess"),
        versions=versions_of("preprocess"),
    shell:
        "physml {params.pipeline} preprocess --settings {params.settings:q}"
        " --threads {threads} --mem-mb {resources.mem_mb}"
        + (" --dask {resources.dask:q}" if placed else "")
        + " -o {output:q} {input:q} 2> {log:q}"
