# The model applied to an example, with everything a reader wants to see in one folder.
rule report:
    input:
        evaluation="<results>/evaluation",
        weights="<results>/model.safetensors",
    output:
        report(
            directory("<results>/report"),
            patterns=["{result}.png", "{result}.html"],
            caption=captions["report"],
            category=pipeline.title,
            subcategory="Applied to an example",
            labels={"result": "{result}"},
        ),
    log:
        "<logs>/report.log",
    localrule: True
    threads: settings.report.resources.threads
    resources:
        mem_mb=settings.report.resources.mem_mb,
        runtime=settings.report.resources.runtime_min,
        gpu=settings.report.resources.gpu,
    params:
        pipeline=pipeline.name,
        settings=settings_of("report"),
        versions=versions_of("report"),
    shell:
        "physml {params.pipeline} report --settings {params.settings:q} --threads {threads}"
        " --evaluation {input.evaluation:q} --weights {input.weights:q} -o {output:q} 2> {log:q}"
