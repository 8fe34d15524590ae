# One shard a job. Samples are seeded one by one, so neither the number of shards nor their order
# changes the data. Plain wildcards, not `scattergather`: the number of shards follows from the
# settings, and `--set-scatter` would let it contradict them.
rule simulate:
    output:
        temp("<results>/raw/{shard}.h5"),
    log:
        "<logs>/simulate/{shard}.log",
    benchmark:
        "<logs>/simulate/{shard}.benchmark.tsv"
    wildcard_constraints:
        shard=r"\d+",
    threads: settings.simulate.resources.threads
    resources:
        mem_mb=growing(settings.simulate.resources.mem_mb),
        runtime=growing(settings.simulate.resources.runtime_min),
        gpu=settings.simulate.resources.gpu,
    params:
        pipeline=pipeline.name,
        settings=settings_of("simulate"),
        versions=versions_of("simulate"),
    shell:
        "physml {params.pipeline} simulate --settings {params.settings:q}"
        " --shard {wildcards.shard} --threads {threads} -o {output:q} 2> {log:q}"
