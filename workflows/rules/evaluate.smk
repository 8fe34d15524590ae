# Metrics and figures on the test set.
rule evaluate:
    input:
        data="<results>/data",
        weights="<results>/model.safetensors",
    output:
        report(
            directory("<results>/evaluation"),
            patterns=["figures/{figure}.png"],
            caption=captions["evaluation"],
            category=pipeline.title,
            subcategory="On simulated test data",
            labels={"figure": "{figure}"},
        ),
    log:
        "<logs>/evaluate.log",
    benchmark:
        "<logs>/evaluate.benchmark.tsv"
    threads: settings.evaluate.resources.threads
    resources:
        mem_mb=growing(settings.evaluate.resources.mem_mb),
        runtime=growing(settings.evaluate.resources.runtime_min),
        gpu=settings.evaluate.resources.gpu,
    params:
        pipeline=pipeline.name,
        settings=settings_of("evaluate"),
        versions=versions_of("evaluate"),
    shell:
        "physml {params.pipeline} evaluate --settings {params.settings:q} --threads {threads}"
        " --data {input.data:q} --weights {input.weights:q} -o {output:q} 2> {log:q}"
