# A Snakemake whose jobs are its own children says so, for the one that comes after it if it is killed
# (`physml.workflow.run_lock`). For Snakefiles that are run themselves: handlers of a module are not called.
from physml.workflow import run_lock


onstart:
    run_lock.began(local=workflow.local_exec)
