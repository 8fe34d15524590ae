"""Settings: checked types with units, loading and merging, and the files generated from them.

Each stage of each pipeline has one model. Unknown keys are refused, values are immutable, every
field has a description. ``config.yaml`` and its JSON schema are generated from the models, so
that they cannot disagree with what the program accepts.
"""

from .loading import load_settings, read_config
from .stages import (
    PipelineSettings,
    Provision,
    ResourceSettings,
    SimulateBase,
    StageSettings,
    upstream,
)
from .types import (
    Arcsec,
    Count,
    Degrees,
    KiloElectronVolt,
    Kiloparsec,
    MegaElectronVolt,
    Micrometres,
    Millimetres,
    Minutes,
    Pixels,
    Seconds,
    Settings,
    Unit,
    quantity,
)
from .writing import dump_schema, dump_yaml
