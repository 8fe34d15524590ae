"""Neural adaptive quantum state tomography: simulate, measure, learn, steer a laboratory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

from physml.pipeline import Pipeline

if TYPE_CHECKING:
    from .core.measurements import Setting as Setting
    from .core.measurements import pauli_settings as pauli_settings
    from .core.readout import Readout as Readout
    from .core.readout import estimate_confusion as estimate_confusion
    from .data.laboratory import FolderLaboratory as FolderLaboratory
    from .data.laboratory import Laboratory as Laboratory
    from .data.laboratory import SimulatedLaboratory as SimulatedLaboratory
    from .data.laboratory import SocketLaboratory as SocketLaboratory
    from .data.process_file import load_process_records as load_process_records
    from .data.process_records import ProcessRecords as ProcessRecords
    from .data.qiskit import records_from_qiskit as records_from_qiskit
    from .data.records import Measurement as Measurement
    from .data.records import Records as Records
    from .data.records_file import load_records as load_records
    from .data.records_file import save_records as save_records
    from .inference.fit.checked import Misfit as Misfit
    from .inference.process.tomographer import ProcessTomographer as ProcessTomographer
    from .inference.qiskit_fitter import qiskit_fitter as qiskit_fitter
    from .inference.steering import Stop as Stop
    from .inference.steering import steer as steer
    from .inference.tomographer import Tomographer as Tomographer
    from .predict import TomographyPredictor as TomographyPredictor
    from .results.process.estimate import estimate_process as estimate_process
    from .results.process.result import ProcessResult as ProcessResult
    from .results.result import TomographyResult as TomographyResult
    from .settings import TomographySettings as TomographySettings

pipeline = Pipeline(
    name="tomography",
    title="Neural adaptive quantum state tomography",
    settings="physml.tomography.settings:TomographySettings",
    simulate="physml.tomography.simulate:run",
    preprocess="physml.tomography.preprocess:run",
    train="physml.tomography.train:run",
    evaluate="physml.tomography.evaluate:run",
    report="physml.tomography.report:run",
    predictor="physml.tomography.predict:TomographyPredictor",
    cli="physml.tomography.cli:app",
    versions={"simulate": 2, "preprocess": 2, "train": 3, "evaluate": 2, "report": 2},
)

# Imported on first use: the command line must not wait for torch.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "core.measurements": ["Setting", "pauli_settings"],
        "core.readout": ["Readout", "estimate_confusion"],
        "data.laboratory": [
            "FolderLaboratory",
            "Laboratory",
            "SimulatedLaboratory",
            "SocketLaboratory",
        ],
        "data.process_file": ["load_process_records"],
        "data.process_records": ["ProcessRecords"],
        "data.qiskit": ["records_from_qiskit"],
        "data.records": ["Measurement", "Records"],
        "data.records_file": ["load_records", "save_records"],
        "inference.fit.checked": ["Misfit"],
        "inference.process.tomographer": ["ProcessTomographer"],
        "inference.qiskit_fitter": ["qiskit_fitter"],
        "inference.steering": ["Stop", "steer"],
        "inference.tomographer": ["Tomographer"],
        "predict": ["TomographyPredictor"],
        "results.process.estimate": ["estimate_process"],
        "results.process.result": ["ProcessResult"],
        "results.result": ["TomographyResult"],
        "settings": ["TomographySettings"],
    },
)
__all__ += ["pipeline"]
