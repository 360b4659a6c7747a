"""Print a `.env` for docker-compose.yml: `python deploy/make_env.py > .env`, then keep it to yourself.

Run it once: PostgreSQL and MLflow read their passwords on their first start, and keep them.
"""

import secrets

NAMES = (
    "POSTGRES_PASSWORD",
    "PREFECT_DB_PASSWORD",
    "MLFLOW_DB_PASSWORD",
    "LORI_DB_PASSWORD",
    "PREFECT_PASSWORD",
    "MLFLOW_PASSWORD",
    "MLFLOW_SECRET_KEY",
)

if __name__ == "__main__":
    for name in NAMES:
        print(f"{name}={secrets.token_urlsafe(24)}")  # noqa: T201
