# All shards in, training, validation and test sets out. Dask works inside the job, sized from its
# threads and memory.
rule preprocess:
    input:
        expand("<results>/raw/{shard}.h5", shard=range(settings.simulate.n_shards)),
    output:
        directory("<results>/data"),
    log:
        "<logs>/preprocess.log",
    benchmark:
        "<logs>/preprocess.benchmark.tsv"
    threads: settings.preprocess.resources.threads
    resources:
        mem_mb=growing(settings.preprocess.resources.mem_mb),
        runtime=growing(settings.preprocess.resources.runtime_min),
        gpu=settings.preprocess.resources.gpu,
    params:
        pipeline=pipeline.name,
        settings=settings_of("preprocess"),
        versions=versions_of("preprocess"),
    shell:
        "physml {params.pipeline} preprocess --settings {params.settings:q}"
        " --threads {threads} --mem-mb {resources.mem_mb} -o {output:q} {input:q} 2> {log:q}"
