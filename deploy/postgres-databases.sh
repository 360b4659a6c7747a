#!/bin/sh
# Run once by the postgres image, when its volume is empty: three databases, one role each.
# Prefect and MLflow both keep a table `alembic_version`: they must not share one.
# The passwords come from the environment and are on no command line.
set -eu

psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
\getenv prefect_password PREFECT_DB_PASSWORD
\getenv mlflow_password MLFLOW_DB_PASSWORD
\getenv lori_password LORI_DB_PASSWORD

CREATE ROLE prefect LOGIN PASSWORD :'prefect_password';
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow_password';
CREATE ROLE lori LOGIN PASSWORD :'lori_password';

CREATE DATABASE prefect OWNER prefect;
CREATE DATABASE mlflow OWNER mlflow;
CREATE DATABASE lori OWNER lori;

REVOKE CONNECT ON DATABASE prefect, mlflow, lori FROM PUBLIC;
SQL
