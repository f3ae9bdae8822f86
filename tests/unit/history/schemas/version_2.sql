-- The history as schema version 2 made it; what an upgrade must be able to start from.
create table "column_drift" (
  "id" varchar(64) not null,
  "at" varchar(32) not null,
  "release" varchar(255),
  "table_digest" varchar(64),
  "column_name" varchar(255),
  "n" integer,
  "psi" double precision,
  "psi_critical" double precision,
  "p_value" double precision,
  primary key ("id")
);
create index "ix_column_drift_at" on "column_drift" ("at");
create table "drift" (
  "id" varchar(64) not null,
  "at" varchar(32) not null,
  "release" varchar(255),
  "rule" varchar(255),
  "drift" boolean,
  "recorded_score" double precision,
  "new_score" double precision,
  "new_low" double precision,
  "new_high" double precision,
  "n" integer,
  "auc" double precision,
  "leaver_share" double precision,
  "reason" varchar(1000),
  primary key ("id")
);
create index "ix_drift_at" on "drift" ("at");
create table "ingested_files" (
  "id" varchar(64) not null,
  "at" varchar(32) not null,
  "source" varchar(1000),
  "batch" integer,
  "name" varchar(255),
  "sha256" varchar(64),
  "rows_read" integer,
  "rows_new" integer,
  "rows_duplicate" integer,
  "rows_rejected" integer,
  "rows_unlabelled" integer,
  "refused" varchar(1000),
  "rows_total" bigint,
  primary key ("id")
);
create index "ix_ingested_files_at" on "ingested_files" ("at");
create table "missing_values" (
  "id" varchar(64) not null,
  "at" varchar(32) not null,
  "table_digest" varchar(64),
  "column_name" varchar(255),
  "count" integer,
  "percent" double precision,
  primary key ("id")
);
create index "ix_missing_values_at" on "missing_values" ("at");
create table "releases" (
  "id" varchar(64) not null,
  "at" varchar(32) not null,
  "release" varchar(255),
  "action" varchar(255),
  "deployed_by" varchar(255),
  "estimator" varchar(255),
  "score" double precision,
  "model_sha256" varchar(64),
  primary key ("id")
);
create index "ix_releases_at" on "releases" ("at");
create table "schema_version" (
  "version" integer not null,
  primary key ("version")
);
create table "scores" (
  "id" varchar(64) not null,
  "at" varchar(32) not null,
  "data" varchar(255),
  "model_sha256" varchar(64),
  "n" integer,
  "n_positive" integer,
  "f1" double precision,
  "f1_low" double precision,
  "f1_high" double precision,
  "auc" double precision,
  "average_precision" double precision,
  primary key ("id")
);
create index "ix_scores_at" on "scores" ("at");
create table "ticks" (
  "id" varchar(64) not null,
  "at" varchar(32) not null,
  "listing_digest" varchar(64),
  "config_digest" varchar(64),
  "release_before" varchar(255),
  "release_after" varchar(255),
  "files_new" integer,
  "rows_new" integer,
  "drift" boolean,
  "deployed" boolean,
  "reason" varchar(1000),
  primary key ("id")
);
create index "ix_ticks_at" on "ticks" ("at");
create table "timings" (
  "id" varchar(64) not null,
  "at" varchar(32) not null,
  "stage" varchar(255),
  "duration_s" double precision,
  "n_rows" integer,
  primary key ("id")
);
create index "ix_timings_at" on "timings" ("at");
