# Which pipelines there are, and what the command line says to each. For the root Snakefile.
from pathlib import Path

from physml.config import load_settings
from physml.exceptions import PhysmlError
from physml.pipeline import get_pipeline
from snakemake.exceptions import WorkflowError

# What the root's configuration may hold besides one section a pipeline.
KEYS = ("pipelines", "pipeline_dirs", "preset", "protect", "pathvars")


def listed(value):
    """A list from a list or from one text with commas."""
    return (
        [v.strip() for v in value.split(",") if v.strip()]
        if isinstance(value, str)
        else value
    )


def discover(folders):
    """Map the name of every pipeline in these folders to its own folder."""
    found = {}
    for folder in folders:
        if not Path(folder).is_dir():
            raise WorkflowError(f"pipeline_dirs: no such folder: {folder}")
        for snakefile in sorted(Path(folder).resolve().glob("*/Snakefile")):
            name = snakefile.parent.name
            if name in found:
                raise WorkflowError(
                    f"two pipelines are called {name}: {found[name]} and {snakefile.parent}"
                )
            found[name] = snakefile.parent
    return found


def chosen(available, config):
    """Those of the available pipelines that `config` asks for (`pipelines`; all by default).

    A misspelt key must not be passed over in silence.
    """
    names = listed(config.get("pipelines", list(available)))
    unknown = [key for key in (*config, *names) if key not in (*KEYS, *available)]
    if unknown:
        raise WorkflowError(
            f"configuration: unknown: {', '.join(unknown)}. Known are the pipelines "
            f"{', '.join(available)} (a section of settings each) and {', '.join(KEYS)}"
        )
    return {name: available[name] for name in names}


def settings_of_pipeline(folder, config):
    """Settings of one pipeline: its config.yaml, over it the preset, over it the command line's."""
    files = [folder / "config.yaml"]
    if "preset" in config:
        files.append(folder / f"{config['preset']}.yaml")
    name = folder.name
    try:
        model = get_pipeline(name).settings_model()
        settings = load_settings(model, *files, config.get(name, {}))
    except PhysmlError as error:
        raise WorkflowError(f"pipeline {name}: {error}") from error
    chain = {key: config[key] for key in ("protect",) if key in config}
    return settings.model_dump(mode="json") | chain
