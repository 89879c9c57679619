"""What Ray and Tune read of the environment, some of it at their import: import this module before ray."""

import os

os.environ.update(
    {
        "RAY_AUTH_MODE": "token",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",
        "TUNE_GLOBAL_CHECKPOINT_S": "100000",
        **os.environ,
    }
)  # what the user has set stands

WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",  # Tune runs each trial in a new thread; an arena for each would keep its memory
} | {name: os.environ[name] for name in ("RAY_CHDIR_TO_TRIAL_DIR", "TUNE_FUNCTION_THREAD_TIMEOUT_S")}
"""What workers get of it: they are not children of this process."""
